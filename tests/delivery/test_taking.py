"""What a GET stream's reader sends it has taken before: who is no reader any more sends nothing."""

from __future__ import annotations

import asyncio

import pytest

from mcp_sessions.delivery import Closing, Follower, get_hub
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Event
from mcp_sessions.stores import get_store
from tests.servers import DEADLINE
from tests.sessions import Open


async def all_of(follower: Follower) -> list[str]:
    async with asyncio.timeout(DEADLINE):
        return [item.data async for item in follower.items() if isinstance(item, Event)]


@pytest.mark.parametrize("closing", [Closing.LOST, Closing.REPLACED])
async def test_who_does_not_read_the_stream_any_more_sends_nothing(
    new_session: Open, closing: Closing
) -> None:
    """Also not what it stored itself, a moment ago: that comes on another stream."""
    session, store = (await new_session()).record, get_store()
    other = new_stream_name()
    await store.aattach(session.key, other, "other", 0, None, is_new=True)
    follower = await get_hub().connections.follow_new(session)
    name, worker = follower.stream.name, follower.stream.reader
    await (await get_hub().send_message(session.key, '"a"'))
    if closing is Closing.LOST:
        await store.atake_over(worker, "heir", 10)
        expected = (other, "other")
    else:
        await store.aattach(session.key, name, "elsewhere", 0, None)
        expected = (name, "elsewhere")
    assert await all_of(follower) == []
    assert follower.closing is closing
    reading = await store.aread(expected[0], 0, 10, worker=expected[1])
    assert reading is not None
    assert [event.data for event in reading.events] == ['"a"']


async def test_what_was_taken_is_sent_whatever_happens(new_session: Open) -> None:
    """Nobody else will send it: if its client is gone, it waits for who resumes the stream."""
    session, store = (await new_session()).record, get_store()
    follower = await get_hub().connections.follow_new(session)
    for text in ('"a"', '"b"'):
        await (await get_hub().send_message(session.key, text))
    items = follower.items()
    first = await anext(items)
    await store.atake_over(follower.stream.reader, "heir", 10)
    async with asyncio.timeout(DEADLINE):
        rest = [item async for item in items if isinstance(item, Event)]
    assert [first, *rest] == [Event(1, "message", '"a"'), Event(2, "message", '"b"')]
    assert (await store.afind_streams([follower.stream.name]))[follower.stream.name].delivered == 2


async def test_what_was_taken_and_not_sent_comes_on_the_next_stream(new_session: Open) -> None:
    session = (await new_session()).record
    follower = await get_hub().connections.follow_new(session)
    for text in ('"a"', '"b"', '"c"'):
        await (await get_hub().send_message(session.key, text))
    items = follower.items()
    await anext(items)
    await anext(items)
    # Its client is gone while it is sent the second.
    await items.aclose()
    await until_unread(follower.stream.name)
    again = await get_hub().connections.follow_new(session)
    again.close(Closing.DRAINING)
    assert await all_of(again) == ['"b"', '"c"']


@pytest.mark.parametrize("is_taken", [False, True])
async def test_what_comes_back_late_is_not_sent_behind_what_came_later(
    new_session: Open, is_taken: bool
) -> None:
    """The client has opened another stream at another worker before this one noticed that it had gone."""
    session, store = (await new_session()).record, get_store()
    follower = await get_hub().connections.follow_new(session)
    for text in ('"a"', '"b"', '"c"'):
        await (await get_hub().send_message(session.key, text))
    items = follower.items()
    await anext(items)
    await anext(items)
    newer = new_stream_name()
    await store.aattach(session.key, newer, "elsewhere", 0, None, is_new=True)
    await (await get_hub().send_message(session.key, '"d"'))
    came = await taken(newer) if is_taken else []
    await items.aclose()
    await until_unread(follower.stream.name)
    came += await taken(newer, after=len(came))
    assert came == (['"d"'] if is_taken else ['"b"', '"c"', '"d"'])
    again = await get_hub().connections.follow_again(session, follower.stream.name, 1)
    assert again is not None
    again.close(Closing.DRAINING)
    assert await all_of(again) == (['"b"', '"c"'] if is_taken else [])


async def taken(name: str, after: int = 0) -> list[str]:
    reading = await get_store().aread(name, after, 10, worker="elsewhere")
    assert reading is not None and not reading.is_estranged
    return [event.data for event in reading.events]


async def until_unread(name: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await get_store().afind_streams([name]))[name].reader:
            await asyncio.sleep(0.01)


async def test_a_connection_that_waits_takes_an_event_when_it_is_stored(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message to a stream that this process reads costs one transaction."""
    session, store = (await new_session()).record, get_store()
    follower = await get_hub().connections.follow_new(session)
    items = follower.items()
    name = follower.stream.name
    for position, text in enumerate(('"a"', '"b"'), 1):
        coming = asyncio.ensure_future(anext(items))
        await until_idle(follower)
        monkeypatch.setattr(store, "aread", None)
        await (await get_hub().send_message(session.key, text))
        assert await asyncio.wait_for(coming, DEADLINE) == Event(position, "message", text)
    assert (await store.afind_streams([name]))[name].delivered == 2
    monkeypatch.undo()
    await items.aclose()
    await until_unread(name)
    # Its client was gone before the second was written.
    again = await get_hub().connections.follow_new(session)
    again.close(Closing.DRAINING)
    assert await all_of(again) == ['"b"']


async def test_what_a_connection_does_not_wait_for_is_not_taken_with_it(new_session: Open) -> None:
    """Its client is slow: a newer stream has it."""
    session, store = (await new_session()).record, get_store()
    follower = await get_hub().connections.follow_new(session)
    coming = asyncio.ensure_future(anext(follower.items()))
    await until_idle(follower)
    await (await get_hub().send_message(session.key, '"a"'))
    await asyncio.wait_for(coming, DEADLINE)
    await (await get_hub().send_message(session.key, '"b"'))
    newer = new_stream_name()
    await store.aattach(session.key, newer, "elsewhere", 0, None, is_new=True)
    assert await taken(newer) == ['"b"']


async def until_idle(follower: Follower) -> None:
    async with asyncio.timeout(DEADLINE):
        while not follower.is_idle:
            await asyncio.sleep(0.01)
