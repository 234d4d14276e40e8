"""Redis goes away: workers look into the database instead, until its bell is heard again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.e2e.deploys.conftest import PATIENT, StartCluster
from tests.e2e.deploys.reading import answers, logged, messages, rest, results, texts
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import Cluster, through
from tests.harness.gate import Gate
from tests.harness.running import run
from tests.harness.wire import RawSession, Response

LAYERS: Final = {
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "core": "channels_redis.core.RedisChannelLayer",
}
GIVEN_UP: Final = "is not heard"
HEARD: Final = "is heard"
HEARD_AGAIN: Final = "is heard again"
TRIES: Final = 20
# Nobody looks into the database by himself within a test, unless the bell was given up.
BY_THE_BELL: Final = {"POLL_SECONDS": 600}


@pytest.fixture(params=LAYERS)
def new_ringing(
    request: pytest.FixtureRequest, redis_gate: Gate, new_cluster: StartCluster
) -> Iterator[StartCluster]:
    """Workers that ring through the gate, by either of the layers."""

    def new(count: int = 2, **options: Any) -> Cluster:
        env = {"E2E_CHANNEL_LAYER": LAYERS[request.param]}
        settings = "tests.e2e.deploys.settings"
        return new_cluster(count, {**PATIENT, **options}, env, redis_url=redis_gate.url, settings=settings)

    yield new


async def assert_told(cluster: Cluster, listening: Response, session: RawSession, *said: str) -> None:
    """What is said at each worker arrives on the stream that one of them has."""
    for text in said:
        for worker in cluster.workers:
            await through(session, worker).call("say", {"texts": [text]})
            assert texts(await messages(listening, 1)) == [text]


async def all_heard(cluster: Cluster, listening: Response, session: RawSession) -> None:
    """Every worker serves the session, and hears the others; the first has the stream."""
    # Before it listens nobody can ring for it, and who polls rarely would not find out.
    await logged(cluster[0], HEARD)
    await assert_told(cluster, listening, session, "to begin with")
    await all_logged(cluster, HEARD)


async def all_logged(cluster: Cluster, words: str) -> None:
    for worker in cluster.workers:
        await logged(worker, words)


async def assert_resumed_elsewhere(cluster: Cluster, session: RawSession, gates: Gates) -> None:
    """A call's stream is followed at the worker that does not run it."""
    gate = gates.new()
    call = session.tool_call("steps", {"gates": [gate]}, token="steps")
    async with session.post(call) as response:
        [event] = await messages(response, 1)
        response.cut()
    reading = asyncio.create_task(rest(through(session, cluster[1]), event.id))
    gates.open(gate)
    assert len(results(answers(await reading))) == 1


async def assert_rung_again(listening: Response, elsewhere: RawSession) -> None:
    """What is said elsewhere arrives with the first bell that does; some are rung on dead connections."""
    said: list[str] = []
    receiving = asyncio.create_task(messages(listening, 1))
    while not receiving.done() and len(said) < TRIES:
        said.append(f"ring {len(said)}")
        await elsewhere.call("say", {"texts": [said[-1]]})
        await asyncio.wait({receiving}, timeout=1)
    assert texts(await receiving) == said[:1]
    assert texts(await messages(listening, len(said) - 1)) == said[1:]


def test_workers_hear_of_each_other_while_redis_is_away(
    redis_gate: Gate, new_ringing: StartCluster, gates: Gates
) -> None:
    cluster = new_ringing()
    cluster.start()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        async with session.get() as listening:
            await all_heard(cluster, listening, session)
            redis_gate.close()
            await all_logged(cluster, GIVEN_UP)
            await assert_told(cluster, listening, session, "without it", "and again")
            await assert_resumed_elsewhere(cluster, session, gates)
            redis_gate.open()
            await all_logged(cluster, HEARD_AGAIN)
            await assert_told(cluster, listening, session, "with it again")
            await assert_resumed_elsewhere(cluster, session, gates)

    run(scenario())


def test_what_is_said_before_the_outage_is_noticed_arrives(
    redis_gate: Gate, new_ringing: StartCluster
) -> None:
    """A bell that nobody heard costs time, never the message."""
    cluster = new_ringing()
    cluster.start()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        async with session.get() as listening:
            await all_heard(cluster, listening, session)
            redis_gate.close()
            await assert_told(cluster, listening, session, "into the void")
            redis_gate.open()
            await assert_told(cluster, listening, session, "and back")

    run(scenario())


def test_a_quick_restart_of_redis_leaves_nobody_deaf(redis_gate: Gate, new_ringing: StartCluster) -> None:
    cluster = new_ringing()
    cluster.start()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        async with session.get() as listening:
            await all_heard(cluster, listening, session)
            for number in range(3):
                redis_gate.close()
                redis_gate.open()
                await assert_told(cluster, listening, session, f"after restart {number}")

    run(scenario())


def test_the_bell_is_used_again_when_redis_is_back(redis_gate: Gate, new_ringing: StartCluster) -> None:
    """Polling so rarely that only the bell can have brought it."""
    cluster = new_ringing(**BY_THE_BELL)
    cluster.start()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        async with session.get() as listening:
            await all_heard(cluster, listening, session)
            redis_gate.close()
            await all_logged(cluster, GIVEN_UP)
            redis_gate.open()
            await all_logged(cluster, HEARD_AGAIN)
            await assert_rung_again(listening, through(session, cluster[1]))

    run(scenario())


def test_a_server_that_starts_without_redis_polls(
    redis_gate: Gate, new_ringing: StartCluster, gates: Gates
) -> None:
    cluster = new_ringing()
    redis_gate.close()
    cluster.start()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        async with session.get() as listening:
            await assert_told(cluster, listening, session, "without it")
            await assert_resumed_elsewhere(cluster, session, gates)
            assert not any(HEARD in worker.log() for worker in cluster.workers)
            redis_gate.open()
            await all_logged(cluster, HEARD)
            await assert_told(cluster, listening, session, "with it")

    run(scenario())
