"""The database takes no writes for a while, as one does that is being replaced: nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import psycopg

from tests.e2e.deploys.conftest import PATIENT, StartCluster, either_way
from tests.e2e.deploys.reading import answers, messages, results, steps, texts, to_the_end
from tests.e2e.deploys.test_database_outage import opened
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.services import POSTGRES
from tests.harness.wire import RawSession, Response, request

READ_ONLY_SECONDS: Final = 4.0
STEPS: Final = 100
TEXTS: Final = [f"text {number}" for number in range(20)]


@contextmanager
def only_reading(database: str) -> Iterator[None]:
    """Connections end when it begins and when it is over; new ones are served at any time."""
    name = urlsplit(database).path.strip("/")
    with psycopg.connect(POSTGRES, autocommit=True) as connection:

        def switch(statement: str) -> None:
            connection.execute(f'ALTER DATABASE "{name}" {statement}')
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            connection.execute(ended, [name])

        switch("SET default_transaction_read_only = on")
        try:
            yield
        finally:
            switch("RESET default_transaction_read_only")


async def refused(response: Response) -> None:
    body = await response.body()
    assert response.status == 503, (response.status, body)
    assert int(response.headers["retry-after"]) > 0


async def refuses_writes(session: RawSession) -> None:
    """What opens a session, reads a stream or ends a session is to come again."""
    async with opened(session.url) as response:
        await refused(response)
    async with session.get() as response:
        await refused(response)
    async with request("DELETE", session.url, session.headers()) as response:
        await refused(response)


async def refuses_for(seconds: float, session: RawSession) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        await refuses_writes(session)


@either_way
def test_what_is_sent_while_the_database_only_reads_arrives(
    database: str, start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    """In order and once, on a reply and on a GET stream of another worker."""
    options = {**PATIENT, "STREAM_AFTER_SECONDS": 60}
    cluster = start_cluster(redis_url=redis_url, options=options)

    async def scenario() -> None:
        session, other = [await RawSession.open(cluster[0].url) for _ in range(2)]
        early, late = gates.new(), gates.new()
        call = session.tool_call("steps", {"gates": [early] * 50 + [late] * 50}, token="steps")
        async with through(session, cluster[1]).get() as listening, session.post(call) as running:
            found = await messages(running, 1)
            saying = asyncio.create_task(session.call("say_at", {"gate": early, "texts": TEXTS}))
            await gates.noted(early, "started")
            with only_reading(database):
                gates.open(early)
                await refuses_for(READ_ONLY_SECONDS, other)
            await served_at_once(other)
            gates.open(late)
            found += await to_the_end(running)
            assert steps(found) == list(range(1, STEPS + 1))
            assert results(answers(found))[0].startswith("done by")
            assert texts(await messages(listening, len(TEXTS))) == TEXTS
            assert results([await saying]) == ["said"]
            await session.call("say", {"texts": ["no other"]})
            assert texts(await messages(listening, 1)) == ["no other"]

    run(scenario())


async def served_at_once(session: RawSession) -> None:
    async with opened(session.url) as response:
        assert response.status == 200, await response.body()
    async with session.get() as response:
        assert response.status == 200, await response.body()
    assert await session.delete() in (200, 204)
