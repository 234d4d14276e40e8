"""A worker that was only paused comes back after it was declared lost."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.e2e.deploys.calls import (
    DECLARED_LOST,
    WAS_LOST,
    assert_ended_once,
    assert_serves,
    running,
    whatever_comes,
)
from tests.e2e.deploys.conftest import StartCluster, either_way
from tests.e2e.deploys.reading import answers, logged, messages, reasons, rest, results, texts
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import Cluster, through
from tests.harness.running import run
from tests.harness.sse import Event
from tests.harness.wire import RawSession

CALLS: Final = 10
TIMEOUT: Final = 9
"""A heartbeat may be held up for some of them, but not for as long as the loop stands still: twice that."""


async def paused_until_dead(cluster: Cluster, session: RawSession, event: Event) -> None:
    """Pause the first worker until the second has ended the call to whose stream the event belongs."""
    await asyncio.to_thread(cluster[0].pause)
    assert [reason for _, reason in reasons(answers(await rest(through(session, cluster[1]), event.id)))] == [
        "worker_lost"
    ]


def test_no_call_ends_twice_when_its_worker_comes_back(
    start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    cluster = start_cluster(redis_url=redis_url)
    gate = gates.new()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        async with running(session, gate, CALLS) as calls:
            await paused_until_dead(cluster, session, calls[0][1])
            # Every call is about to return when its worker goes on.
            gates.open(gate)
            cluster[0].resume()
            heard = await asyncio.gather(*(whatever_comes(response) for response, _ in calls))
            await logged(cluster[0], WAS_LOST)
            for (_, event), told in zip(calls, heard, strict=True):
                await assert_ended_once(session, cluster.workers, event, told)
        await assert_serves(cluster[0], gates)
        await assert_serves(cluster[1], gates)

    run(scenario())


@either_way
def test_what_is_said_while_a_listeners_worker_is_paused_is_heard_once(
    start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    cluster = start_cluster(redis_url=redis_url)

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        other = through(session, cluster[1])
        async with session.get() as listening, running(session, gates.new(), 1) as [(_, event)]:
            await session.call("say", {"texts": ["before"]})
            heard = await messages(listening, 1)
            await paused_until_dead(cluster, session, event)
            await other.call("say", {"texts": ["during", "the pause"]})
            cluster[0].resume()
            await logged(cluster[0], WAS_LOST)
            # A worker that has lost its name lets its clients come back under the new one.
            heard += await whatever_comes(listening)
        async with session.get(heard[-1].id) as again:
            await other.call("say", {"texts": ["after"]})
            heard += await messages(again, 4 - len(heard))
        assert texts(heard) == ["before", "during", "the pause", "after"]
        assert len({event.id for event in heard}) == 4

    run(scenario())


def test_what_came_on_another_stream_is_not_sent_by_a_worker_that_comes_back(
    start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    cluster = start_cluster(redis_url=redis_url)

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        other = through(session, cluster[1])
        async with (
            other.get() as older,
            session.get() as newer,
            running(session, gates.new(), 1) as [(_, event)],
        ):
            await session.call("say", {"texts": ["before"]})
            heard = await messages(newer, 1)
            await asyncio.to_thread(cluster[0].pause)
            # For the newer stream, until its worker is known to be dead.
            await other.call("say", {"texts": ["during", "the pause"]})
            moved = await messages(older, 2)
            await paused_until_dead(cluster, session, event)
            cluster[0].resume()
            await logged(cluster[0], WAS_LOST)
            heard += await whatever_comes(newer)
        assert (texts(heard), texts(moved)) == (["before"], ["during", "the pause"])

    run(scenario())


def test_a_worker_whose_loop_is_blocked_is_not_taken_for_dead(
    start_cluster: StartCluster, gates: Gates
) -> None:
    cluster = start_cluster(options={"WORKER_TIMEOUT": TIMEOUT})
    gate = gates.new()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        elsewhere = through(session, cluster[1])
        # The other worker serves something too: who does not is none that would judge.
        async with elsewhere.get(), running(session, gate, 1) as [(_, event)]:
            assert results([await session.call("block", {"seconds": 2 * TIMEOUT})]) == ["blocked"]
            async with elsewhere.get(event.id) as resumed:
                gates.open(gate)
                [result] = results(answers(await messages(resumed, 1)))
                assert result.startswith("done by")
        assert not any(DECLARED_LOST in worker.log() for worker in cluster.workers)

    run(scenario())
