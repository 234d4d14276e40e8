"""A session's limit of streams holds wherever they are open."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.e2e.test_guide_dialect import guide_session
from tests.e2e.workers.conftest import StartCluster, Workers, both_at, both_stores, every_mode, on
from tests.e2e.workers.reading import guide_stream, messages, next_message, next_named, rest
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.wire import RawSession

# Which worker has the oldest stream, the next, and the one that is too many.
PLACES = [(0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 0)]


@pytest.fixture
def two_streams(workers: Workers) -> Workers:
    return both_at("/two-streams", workers)


async def of_the_guide(workers: Workers, places: tuple[int, ...]) -> None:
    oldest, *others = (workers[place] for place in places)
    async with guide_session(oldest) as guide, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(guide_stream(guide, worker)) for worker in others]
        told = await next_named(guide.response)
        assert told.event == "session-limit" and told.json()["session_id"] == guide.session_id
        assert await rest(guide.response) == []
        await guide.call("announce", {"event": "note", "text": "for those who are left"})
        assert [(await next_named(stream)).event for stream in streams] == ["note", "note"]


async def of_the_specification(workers: Workers, places: tuple[int, ...]) -> None:
    session = await RawSession.open(workers[places[0]].url)
    async with AsyncExitStack() as stack:
        oldest, *others = [
            await stack.enter_async_context(through(session, workers[place]).get()) for place in places
        ]
        assert [stream.status for stream in (oldest, *others)] == [200] * 3
        assert messages(await rest(oldest)) == []
        await session.call("say", {"texts": ["to the newest"]})
        assert (await next_message(others[-1])).json()["params"]["data"] == "to the newest"
        await session.delete()
        assert messages(await rest(others[0])) == []


@every_mode
@pytest.mark.parametrize("scenario", [of_the_guide, of_the_specification], ids=lambda each: each.__name__)
def test_the_oldest_stream_gives_way(two_streams: Workers, scenario: object) -> None:
    for places in PLACES:
        run(scenario(two_streams, places))  # type: ignore[operator]


@on("postgresql")
def test_the_limit_holds_for_those_that_come_at_once(start_cluster: StartCluster) -> None:
    # What a worker finds by looking around must not be quicker than what it is told.
    workers = start_cluster(MAX_CONNECTIONS_PER_SESSION=2, HEARTBEAT_SECONDS=0.1)

    async def scenario() -> None:
        async with guide_session(workers[1]) as guide, asyncio.TaskGroup() as group:
            have_begun = [asyncio.Event() for _ in range(8)]

            async def last_event(number: int) -> str | None:
                async with guide_stream(guide, workers[number % 2]) as stream:
                    have_begun[number].set()
                    return (await next_named(stream)).event

            readers = [group.create_task(last_event(number)) for number in range(8)]
            for has_begun in have_begun:
                await has_begun.wait()
            await guide.call("announce", {"event": "note", "text": "for those who are left"})
            last = [await reader for reader in readers] + [(await next_named(guide.response)).event]
            assert (last.count("note"), last.count("session-limit")) == (2, 7)

    run(scenario())


@both_stores
def test_streams_that_are_resumed_elsewhere_count_once(two_streams: Workers) -> None:
    """A client that comes back to the same stream, again and again on the other worker, has one."""

    async def scenario() -> None:
        workers = two_streams
        session = await RawSession.open(workers[0].url)
        async with session.get() as kept, AsyncExitStack() as stack:
            returning = await stack.enter_async_context(through(session, workers[1]).get())
            place = (await returning.next_event()).id
            for turn in range(6):
                again = through(session, workers[turn % 2]).get(place)
                left, returning = returning, await stack.enter_async_context(again)
                assert returning.status == 200
                assert messages(await rest(left)) == []
            await session.call("say", {"texts": ["to the newest"]})
            assert (await next_message(returning)).json()["params"]["data"] == "to the newest"
            await session.delete()
            assert messages(await rest(kept)) == [] == messages(await rest(returning))

    run(scenario())
