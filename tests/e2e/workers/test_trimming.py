"""Events go when nobody can need them any more: a while after their stream was left, or past a number."""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg

from tests.e2e.workers.conftest import StartCluster, on
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import messages, next_message, rest
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession

# That a worker does it at all; what is deleted is the store's, and in its contract.
pytestmark = on("postgresql")

KEPT_SECONDS: Final = 10
"""Within these a client comes back to a stream that is over, also on a busy machine."""


async def until_few(worker: ServerProcess, rows: str, count: int) -> None:
    """Without asking for the stream, which would keep it."""
    async with await psycopg.AsyncConnection.connect(worker.env["DATABASE_URL"], autocommit=True) as database:
        while (await (await database.execute(f"SELECT count(*) FROM {rows}")).fetchall())[0][0] > count:
            await asyncio.sleep(0.1)


def test_a_stream_is_kept_for_a_while_after_its_end(start_cluster: StartCluster, gates: Gates) -> None:
    cluster = start_cluster(EVENT_SECONDS=KEPT_SECONDS, HEARTBEAT_SECONDS=0.2)

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        elsewhere = through(session, cluster[1])
        gate = gates.new()
        gates.open(gate)
        call = session.tool_call("count", {"n": 3, "gate": gate}, "c")
        async with session.get() as open_one:
            async with session.post(call) as reply:
                first = (await next_message(reply)).id
                assert first is not None
                assert len(messages(await rest(reply))) == 3
            async with elsewhere.get(first) as again:
                assert len(messages(await rest(again))) == 3
            await until_few(cluster[1], "mcp_sessions_stream WHERE kind = 'post'", 0)
            async with elsewhere.get(first) as again:
                assert again.status == 400
                assert (await again.json())["error"]["data"]["reason"] == "event_not_found"
            # One that is being read stays, however long nothing is said.
            await elsewhere.call("say", {"texts": ["still here"]})
            assert (await next_message(open_one)).json()["params"]["data"] == "still here"

    run(scenario())


def test_of_an_open_stream_so_many_are_kept(start_cluster: StartCluster) -> None:
    cluster = start_cluster(MAX_EVENTS=5, HEARTBEAT_SECONDS=0.2)

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        async with through(session, cluster[1]).get() as response:
            texts = [f"{n}" for n in range(40)]
            await session.call("say", {"texts": texts})
            told = [await next_message(response) for _ in texts]
            assert [event.json()["params"]["data"] for event in told] == texts
            await until_few(cluster[0], "mcp_sessions_streamevent", 5)
        # Who comes back gets what is kept, and nothing that was said before.
        async with session.get(told[-3].id) as response:
            again = [(await next_message(response)).json()["params"]["data"] for _ in range(2)]
        assert again == texts[-2:]
        # What was deleted is not skipped without a word.
        async with session.get(told[0].id) as refused:
            assert refused.status == 400
            assert (await refused.json())["error"]["data"]["reason"] == "event_not_found"

    run(scenario())
