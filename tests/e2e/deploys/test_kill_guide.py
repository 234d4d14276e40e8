"""What the guide's clients had open at a worker that was killed."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

from tests.e2e.deploys.conftest import StartCluster
from tests.e2e.deploys.guide import guide_call, guide_stream
from tests.e2e.deploys.reading import answers, lost, messages, reasons, rest
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import Cluster, through
from tests.harness.running import run
from tests.harness.wire import RawSession, Response, request


async def killed_and_noticed(cluster: Cluster, gates: Gates) -> None:
    """Kill the first worker, and wait until the second has found out: a call of it has ended."""
    session = await RawSession.open(cluster[0].url)
    call = session.tool_call("steps", {"gates": [gates.new()]}, token="steps")
    async with session.post(call) as response:
        [event] = await messages(response, 1)
        await asyncio.to_thread(cluster[0].kill)
    assert reasons(answers(await rest(through(session, cluster[1]), event.id))) == lost(call["id"])


def test_the_streams_of_a_dead_worker_do_not_count(
    start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    cluster = start_cluster(redis_url=redis_url, options={"MAX_CONNECTIONS_PER_SESSION": 3})
    alive = cluster[1].url

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            oldest, session_id = await stack.enter_async_context(guide_stream(alive))

            async def another(url: str) -> Response:
                return (await stack.enter_async_context(guide_stream(url, session_id)))[0]

            for _ in range(2):
                await another(cluster[0].url)
            await killed_and_noticed(cluster, gates)

            # Three are open, and the limit is three: the oldest is not closed for the sake of the dead.
            streams = [oldest, await another(alive), await another(alive)]
            await guide_call(alive, session_id, "announce", {"event": "note", "text": "to all"})
            assert [(await stream.next_event()).event for stream in streams] == ["note"] * 3
            streams.append(await another(alive))
            assert (await oldest.next_event()).event == "session-limit"

    run(scenario())


def test_a_call_of_2024_11_05_is_answered_on_its_stream_at_another_worker(
    start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    """Its POST was answered 202, so there is nothing to resume: the one stream has to tell."""
    cluster = start_cluster(redis_url=redis_url)

    async def scenario() -> None:
        async with guide_stream(cluster[1].url) as (listening, session_id):
            params = {"name": "steps", "arguments": {"gates": [gates.new()]}, "_meta": {"progressToken": "t"}}
            call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            url = f"{cluster[0].url}?sse_session={session_id}"
            async with request("POST", url, headers, json.dumps(call).encode()) as response:
                assert response.status == 202, (response.status, await response.body())
            [progress] = await messages(listening, 1)
            assert progress.json()["method"] == "notifications/progress"
            await asyncio.to_thread(cluster[0].kill)
            assert reasons(answers(await messages(listening, 1))) == lost(7)

    run(scenario())
