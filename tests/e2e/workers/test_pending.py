"""Messages for a session of which no stream is open come on the next one, on whichever worker."""

from __future__ import annotations

from tests.e2e.test_guide_dialect import guide_session
from tests.e2e.workers.conftest import Workers, both_at, both_stores
from tests.e2e.workers.endpoints import MAX_PENDING
from tests.e2e.workers.reading import (
    guide_stream,
    messages,
    next_message,
    next_named,
    rest,
    text_of,
    until_left,
)
from tests.e2e.workers.senders import Sender, event, update
from tests.e2e.workers.subscribing import new_uri, next_updated, subscribe
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession


@both_stores
def test_what_was_missed_comes_once_to_the_next_stream(workers: Workers, send: Sender) -> None:
    """No stream was ever open; the next is on any worker, and the one after it has nothing of it."""

    async def scenario() -> None:
        for one, other in (workers, workers[::-1]):
            session, uris = await RawSession.open(one.url), [new_uri() for _ in range(4)]
            await subscribe(session, *uris)
            await send(*map(update, uris[:3]))
            async with through(session, other).get() as first:
                assert [await next_updated(first) for _ in uris[:3]] == uris[:3]
                async with session.get() as second:
                    await send(update(uris[3]))
                    assert await next_updated(second) == uris[3]
                    await session.delete()
                    assert messages(await rest(first)) == messages(await rest(second)) == []

    run(scenario())


def test_what_was_delivered_does_not_come_again(workers: Workers) -> None:
    """The stream that had it is gone when the next opens on the other worker."""

    async def scenario() -> None:
        here, there = workers
        session = await RawSession.open(here.url)
        await session.call("say", {"texts": ["1", "2", "3"]})
        async with session.get() as first:
            assert [(await next_message(first)).json()["params"]["data"] for _ in range(3)] == ["1", "2", "3"]
        async with through(session, there).get() as second:
            await session.call("say", {"texts": ["4"]})
            assert (await next_message(second)).json()["params"]["data"] == "4"

    run(scenario())


def test_a_stream_that_was_cut_is_resumed_elsewhere(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        session = await RawSession.open(here.url)
        async with session.get() as first:
            await session.call("say", {"texts": ["1", "2"]})
            place = (await next_message(first)).id
            first.cut()
        await session.call("say", {"texts": ["3"]})
        async with through(session, there).get(place) as second:
            await session.call("say", {"texts": ["4"]})
            got = [(await next_message(second)).json()["params"]["data"] for _ in range(3)]
            assert got == ["2", "3", "4"]
            await session.delete()
            assert messages(await rest(second)) == []

    run(scenario())


def test_a_browser_comes_back_to_the_other_worker(workers: Workers, send: Sender) -> None:
    """With nothing but its last event id; what was sent meanwhile is there."""

    async def scenario() -> None:
        here, there = workers
        async with guide_session(here) as guide:
            key = text_of(await guide.call("session_key", {}))
            guide.response.cut()
        await send(*(event(key, "note", n) for n in range(3)))
        async with guide_stream(guide, there, guide.last_id) as response:
            assert [(await next_named(response)).json() for _ in range(3)] == [0, 1, 2]
            await guide.call("announce", {"event": "live", "text": "now"})
            assert (await next_named(response)).event == "live"

    run(scenario())


async def dropped_from(worker: ServerProcess, key: str) -> int:
    session = await RawSession.open(worker.url)
    count: int = (await session.call("dropped_from", {"key": key}))["result"]["structuredContent"]["result"]
    return count


@both_stores
def test_the_oldest_of_too_many_are_dropped(workers: Workers, send: Sender) -> None:
    async def scenario() -> None:
        here, there = both_at("/few-pending", workers)
        session, uris = await RawSession.open(here.url), [new_uri() for _ in range(MAX_PENDING + 3)]
        key = text_of(await session.call("session_key"))
        await subscribe(session, *uris)
        said = await send(*(update(uri, "/few-pending") for uri in uris))
        async with through(session, there).get() as response:
            assert [await next_updated(response) for _ in range(MAX_PENDING)] == uris[3:]
            await session.call("say", {"texts": ["last"]})
            assert (await next_message(response)).json()["params"]["data"] == "last"
        assert await dropped_from(there, key) == 3
        assert "dropped" in said + here.log() + there.log() and key in said + here.log() + there.log()

    run(scenario())


def test_the_oldest_events_of_a_closed_guide_stream_are_dropped(workers: Workers, send: Sender) -> None:
    async def scenario() -> None:
        here, there = both_at("/few-pending", workers)
        async with guide_session(here) as guide:
            key = text_of(await guide.call("session_key", {}))
            guide.response.cut()
        # What is sent before the store knows does not wait for anybody.
        await until_left(there, key, 0)
        said = await send(*(event(key, "note", n) for n in range(MAX_PENDING + 3)))
        async with guide_stream(guide, there) as response:
            assert [(await next_named(response)).json() for _ in range(MAX_PENDING)] == [3, 4, 5, 6, 7]
            await guide.call("announce", {"event": "last", "text": ""})
            assert (await next_named(response)).event == "last"
        assert await dropped_from(there, key) == 3
        assert "dropped" in said + here.log() + there.log()

    run(scenario())
