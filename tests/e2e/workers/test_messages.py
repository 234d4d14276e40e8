"""Messages from anywhere in the project reach a session's streams on whichever workers they are."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

import pytest

from tests.e2e.test_guide_dialect import guide_session
from tests.e2e.workers.conftest import Workers, both_stores, every_mode
from tests.e2e.workers.reading import guide_stream, messages, next_message, next_named, rest, text_of
from tests.e2e.workers.senders import Sender, event, update
from tests.e2e.workers.subscribing import new_uri, next_updated, subscribe
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.wire import RawSession, answer

MANY: Final = 40


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


def test_who_has_unsubscribed_elsewhere_is_told_no_more(workers: Workers, send: Sender) -> None:
    async def scenario() -> None:
        here, there = workers
        session, dropped, kept = await RawSession.open(here.url), new_uri(), new_uri()
        elsewhere = through(session, there)
        await subscribe(session, dropped, kept)
        async with session.get() as response:
            message = elsewhere.message("resources/unsubscribe", {"uri": dropped})
            async with elsewhere.post(message) as unsubscribed:
                assert "result" in await answer(unsubscribed)
            await send(update(dropped), update(kept))
            assert await next_updated(response) == kept

    run(scenario())


@pytest.mark.parametrize(
    ("backing", "send"),
    [("postgresql", "command"), ("postgresql+redis", "celery"), ("redis", "command")],
    indirect=True,
)
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


@every_mode
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


@both_stores
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


@every_mode
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


def test_every_one_of_many_streams_is_told(workers: Workers, send: Sender) -> None:
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
            await send(update(uri))
            assert [await next_updated(response) for _, response in followed] == [uri] * MANY
            for session, response in followed:
                await session.delete()
                assert messages(await rest(response)) == []

    run(scenario())


@both_stores
def test_a_large_message_arrives_whole(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        session = await RawSession.open(here.url)
        texts = ["ü😀" * 100_000, "small", "x" * 1_000_000]
        async with session.get() as response:
            await through(session, there).call("say", {"texts": texts})
            assert [(await next_message(response)).json()["params"]["data"] for _ in texts] == texts

    run(scenario())
