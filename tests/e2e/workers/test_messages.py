"""Messages from anywhere in the project reach a session's streams on whichever workers they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.e2e.test_guide_dialect import guide_session
from tests.e2e.workers.conftest import REDIS, StartCluster, Workers, in_turn, needed
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import guide_stream, messages, next_message, next_named, rest, text_of
from tests.e2e.workers.senders import CommandSender, Sender, celery_worker, event, update
from tests.harness.cluster import Cluster, through
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, answer

SENDERS: Final = ("command", "celery")
MAX_PENDING: Final = 5
MANY: Final = 40


@pytest.fixture(scope="package")
def celery_sender(cluster: Cluster, gates: Gates) -> Iterator[Sender]:
    needed(REDIS, "Redis")
    with celery_worker(gates.folder, cluster[0], REDIS) as sender:
        yield sender


@pytest.fixture(params=SENDERS)
def send(request: pytest.FixtureRequest, workers: Workers) -> Sender:
    if request.param == "command":
        return CommandSender(workers[0])
    sender: Sender = request.getfixturevalue("celery_sender")
    return sender


def new_uri() -> str:
    return f"board://{uuid4().hex}"


async def subscribe(session: RawSession, *uris: str) -> None:
    for uri in uris:
        async with session.post(session.message("resources/subscribe", {"uri": uri})) as response:
            assert "result" in await answer(response)


async def next_updated(response: Any) -> str:
    message = (await next_message(response)).json()
    assert message["method"] == "notifications/resources/updated"
    uri: str = message["params"]["uri"]
    return uri


# -- to streams that are open ----------------------------------------------------------------


def test_an_update_comes_on_the_newest_stream_alone(workers: Workers, send: Sender) -> None:
    async def scenario() -> None:
        for older, newest in (workers, workers[::-1]):
            session, uri = await RawSession.open(older.url), new_uri()
            await subscribe(through(session, newest), uri)
            async with session.get() as first, through(session, newest).get() as second:
                await send(update(uri))
                assert await next_updated(second) == uri
                assert await session.delete() == 204
                assert messages(await rest(first)) == messages(await rest(second)) == []

    run(scenario())


def test_every_subscribed_session_is_told_once(workers: Workers, send: Sender) -> None:
    """Opened, subscribed and followed on different workers."""

    async def scenario() -> None:
        uri = new_uri()
        async with AsyncExitStack() as stack:
            followed = []
            for n in range(4):
                session = await RawSession.open(workers[n % 2].url)
                await subscribe(through(session, workers[n // 2]), uri)
                stream = through(session, workers[1 - n % 2]).get()
                followed.append((session, await stack.enter_async_context(stream)))
            await send(update(uri))
            for session, response in followed:
                assert await next_updated(response) == uri
                assert await session.delete() == 204
                assert messages(await rest(response)) == []

    run(scenario())


def test_who_has_unsubscribed_elsewhere_is_told_no_more(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        session, dropped, kept = await RawSession.open(here.url), new_uri(), new_uri()
        elsewhere = through(session, there)
        await subscribe(session, dropped, kept)
        async with session.get() as response:
            message = elsewhere.message("resources/unsubscribe", {"uri": dropped})
            async with elsewhere.post(message) as unsubscribed:
                assert "result" in await answer(unsubscribed)
            await CommandSender(here)(update(dropped), update(kept))
            assert await next_updated(response) == kept

    run(scenario())


def test_a_named_event_comes_on_every_open_stream(workers: Workers, send: Sender) -> None:
    async def scenario() -> None:
        here, there = workers
        async with (
            guide_session(here) as guide,
            guide_stream(guide, there) as second,
            guide_stream(guide, here) as third,
        ):
            key = text_of(await guide.call("session_key", {}))
            await send(event(key, "order-shipped", {"order": 7}))
            streams = (guide.response, second, third)
            for response in streams:
                told = await next_named(response)
                assert (told.event, told.json()) == ("order-shipped", {"order": 7}) and told.id
            await RawSession(there.url, guide.session_id).delete()
            for response in streams:
                assert [each.event for each in await rest(response)] == ["session-expired"]

    run(scenario())


def test_a_tool_of_one_worker_sends_to_streams_of_the_other(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        session = await RawSession.open(here.url)
        async with session.get() as response:
            texts = [f"text {n}" for n in range(20)]
            await through(session, there).call("say", {"texts": texts})
            assert [(await next_message(response)).json()["params"]["data"] for _ in texts] == texts
        async with guide_session(here) as guide:
            elsewhere = replace(guide, url=there.url)
            assert text_of(await elsewhere.call("announce", {"event": "note", "text": "one"})) == "sent"
            assert (await next_named(guide.response)).json() == {"text": "one"}

    run(scenario())


def test_senders_on_both_workers_lose_nothing(workers: Workers) -> None:
    """Many at once, to one stream: each comes once, those of one sender in their order."""

    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        both = [session, through(session, workers[1])]
        async with both[1].get() as response:
            told = [[f"{n}.{m}" for m in range(10)] for n in range(8)]
            await asyncio.gather(*(both[n % 2].call("say", {"texts": texts}) for n, texts in enumerate(told)))
            got = [(await next_message(response)).json()["params"]["data"] for _ in range(80)]
            await session.delete()
            assert messages(await rest(response)) == []
        assert sorted(got) == sorted(text for texts in told for text in texts)
        assert [[text for text in got if text in texts] for texts in told] == told

    run(scenario())


def test_one_call_after_the_other_is_heard_in_that_order(workers: Workers) -> None:
    """A call that was answered has sent what it had to send: the next one, elsewhere, comes after it."""

    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        both = [session, through(session, workers[1])]
        async with session.get() as response:
            for n in range(MANY):
                await both[n % 2].call("say", {"texts": [f"{n}"]})
            got = [(await next_message(response)).json()["params"]["data"] for _ in range(MANY)]
        assert got == [f"{n}" for n in range(MANY)]

    run(scenario())


def test_every_one_of_many_streams_is_told(workers: Workers) -> None:
    """One update, forty sessions, half of them on either worker."""

    async def scenario() -> None:
        uri = new_uri()
        async with AsyncExitStack() as stack:
            followed = []
            for n in range(MANY):
                session = await RawSession.open(workers[n % 2].url)
                await subscribe(session, uri)
                response = await stack.enter_async_context(through(session, workers[n // 2 % 2]).get())
                followed.append((session, response))
            await CommandSender(workers[0])(update(uri))
            assert [await next_updated(response) for _, response in followed] == [uri] * MANY
            for session, response in followed:
                await session.delete()
                assert messages(await rest(response)) == []

    run(scenario())


def test_a_large_message_arrives_whole(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        session = await RawSession.open(here.url)
        texts = ["ü😀" * 100_000, "small", "x" * 1_000_000]
        async with session.get() as response:
            await through(session, there).call("say", {"texts": texts})
            assert [(await next_message(response)).json()["params"]["data"] for _ in texts] == texts

    run(scenario())


# -- to streams that are not -----------------------------------------------------------------


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


METADATA: Final = """
import json
from mcp_sessions.models import Session
print(json.dumps(Session.objects.get(key={key!r}).metadata))
"""


async def metadata_of(worker: ServerProcess, key: str) -> dict[str, Any]:
    code = METADATA.format(key=key)
    found: dict[str, Any] = json.loads(await asyncio.to_thread(worker.manage, "shell", "-v0", "-c", code))
    return found


def test_the_oldest_of_too_many_are_dropped(start_cluster: StartCluster) -> None:
    async def scenario() -> None:
        here, there = workers
        session, uris = await RawSession.open(here.url), [new_uri() for _ in range(MAX_PENDING + 3)]
        key = text_of(await session.call("session_key"))
        await subscribe(session, *uris)
        said = await CommandSender(here)(*map(update, uris))
        async with through(session, there).get() as response:
            assert [await next_updated(response) for _ in range(MAX_PENDING)] == uris[3:]
            await session.call("say", {"texts": ["last"]})
            assert (await next_message(response)).json()["params"]["data"] == "last"
        assert (await metadata_of(there, key))["dropped"] == 3
        assert "dropped" in said + here.log() + there.log() and key in said + here.log() + there.log()

    workers = in_turn(start_cluster(MAX_PENDING=MAX_PENDING), "dropped")
    run(scenario())


def test_the_oldest_events_of_a_closed_guide_stream_are_dropped(start_cluster: StartCluster) -> None:
    async def scenario() -> None:
        here, there = workers
        async with guide_session(here) as guide:
            key = text_of(await guide.call("session_key", {}))
            guide.response.cut()
        said = await CommandSender(there)(*(event(key, "note", n) for n in range(MAX_PENDING + 3)))
        async with guide_stream(guide, there) as response:
            assert [(await next_named(response)).json() for _ in range(MAX_PENDING)] == [3, 4, 5, 6, 7]
            await guide.call("announce", {"event": "last", "text": ""})
            assert (await next_named(response)).event == "last"
        assert (await metadata_of(there, key))["dropped"] == 3
        assert "dropped" in said + here.log() + there.log()

    workers = in_turn(start_cluster(MAX_PENDING=MAX_PENDING), "guide dropped")
    run(scenario())
