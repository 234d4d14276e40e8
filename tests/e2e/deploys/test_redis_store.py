"""The Redis that keeps the sessions is killed, and starts again: nobody is sent away, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.deploys.calls import DECLARED_LOST
from tests.e2e.deploys.conftest import StartCluster
from tests.e2e.deploys.reading import (
    answers,
    beginning,
    logged,
    messages,
    rest,
    results,
    same,
    served_again,
    steps,
    texts,
    to_the_end,
)
from tests.e2e.deploys.test_database_outage import opening_status, refused_for
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import Cluster, through
from tests.harness.databases import SQLiteTemplate
from tests.harness.running import run
from tests.harness.sse import Event
from tests.harness.wire import RawSession, Response
from tests.stores.redis.servers import RedisServer, own_server

TIMEOUT: Final = 6
OUTAGE_SECONDS: Final = 1.75 * TIMEOUT
AWAY: Final = "The session store cannot be reached"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which writes everything down at once."""
    with own_server(tmp_path) as server:
        yield server


@pytest.fixture(params=("polling", "ringing"))
def cluster(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    template: SQLiteTemplate,
    start_cluster: StartCluster,
) -> Cluster:
    """Workers whose sessions are there; and their bells, or they poll."""
    store = {
        "BACKEND": "mcp_sessions.stores.redis.RedisSessionStore",
        "OPTIONS": {"url": redis_server.url},
    }
    options = {"SESSION_STORE": store, "WORKER_TIMEOUT": TIMEOUT}
    given: dict[str, Any] = {"database_url": template.copy(), "options": options}
    if request.param == "polling":
        return start_cluster(**given)
    layer = {"E2E_CHANNEL_LAYER": "channels_redis.pubsub.RedisPubSubChannelLayer"}
    settings = "tests.e2e.deploys.settings"
    return start_cluster(**given, env=layer, redis_url=redis_server.url, settings=settings)


def test_streams_and_calls_outlast_it(cluster: Cluster, redis_server: RedisServer, gates: Gates) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            sessions = [await RawSession.open(worker.url) for worker in cluster.workers]
            listening = [await stack.enter_async_context(each.get()) for each in sessions]
            names = [gates.new() for _ in range(3)]
            running = [await stack.enter_async_context(stepping(each, names)) for each in sessions]
            events = [await messages(response, 1) for response in running]
            # One of them is followed at the worker that does not run it.
            running[0].cut()
            elsewhere = through(sessions[0], cluster[1])
            running[0] = await stack.enter_async_context(elsewhere.get(events[0][0].id))

            redis_server.kill()
            gates.open(names[0])
            await refused_for(OUTAGE_SECONDS, sessions)
            gates.open(names[1])
            assert await opening_status(cluster[1].url) == 503
            async with sessions[0].get() as another:
                assert another.status == 503, another.status
            gates.open(names[2])
            for worker in cluster.workers:
                await logged(worker, AWAY)
            await asyncio.to_thread(redis_server.start)
            for session in sessions:
                await served_again(session)

            for number, session in enumerate(sessions):
                await assert_whole(cluster, session, events[number], running[number])
                heard = texts(await messages(listening[number], len(cluster)))
                assert heard == [f"at {worker.port}" for worker in cluster.workers]
        assert not any(DECLARED_LOST in worker.log() for worker in cluster.workers)

    run(scenario())


def stepping(session: RawSession, names: list[str]) -> Any:
    return session.post(session.tool_call("steps", {"gates": names}, token="steps"))


async def assert_whole(cluster: Cluster, session: RawSession, events: list[Event], running: Response) -> None:
    """No step is lost or doubled, wherever the stream is read; and every worker serves the session."""
    events += await to_the_end(running)
    assert steps(events) == [1, 2, 3]
    assert results(answers(events))[0].startswith("done by")
    for worker in cluster.workers:
        told = through(session, worker)
        assert same(await rest(told, beginning(events[0]))) == same(events)
        await told.call("say", {"texts": [f"at {worker.port}"]})


@pytest.mark.parametrize("cluster", ["ringing"], indirect=True)
def test_data_and_what_waits_are_there_after_it(
    cluster: Cluster, redis_server: RedisServer, gates: Gates
) -> None:
    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        async with session.get() as left:
            place = (await left.next_event()).id
            await session.call("say", {"texts": ["before"]})
            left.cut()
        await session.call("add", {"item": "an apple"})
        redis_server.kill()
        await asyncio.to_thread(redis_server.start)
        elsewhere = through(session, cluster[1])
        await served_again(elsewhere)
        await elsewhere.call("say", {"texts": ["after"]})
        async with elsewhere.get(place) as response:
            assert texts(await messages(response, 2)) == ["before", "after"]
        found = await elsewhere.call("add", {"item": "a pear"})
        assert found["result"]["structuredContent"] == {"result": ["an apple", "a pear"]}

    run(scenario())


def test_sessions_in_memory_end_with_their_process(
    start_cluster: StartCluster, template: SQLiteTemplate
) -> None:
    store = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}
    [worker] = start_cluster(1, {"SESSION_STORE": store}, database_url=template.copy()).workers

    async def scenario() -> None:
        session = await RawSession.open(worker.url)
        assert await session.status_of_ping() == 200
        await worker.restart_beside()
        assert await session.status_of_ping() == 404
        async with session.get() as response:
            assert response.status == 404
        assert await (await RawSession.open(worker.url)).status_of_ping() == 200

    run(scenario())
