"""What a process holds in memory for slow readers and slow stores: counted in bytes, and nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_sessions.delivery import get_hub
from mcp_sessions.delivery.follower import Follower
from mcp_sessions.delivery.writer import BATCH_BYTES
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.records import MESSAGE, Append, Event, Send
from mcp_sessions.stores import get_store
from tests.sessions import Open

Settings = Any

KILO = 1024


def bound(settings: Settings, **options: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **options}


def held(follower: Follower) -> int:
    return sum(len(event.data) for event in follower._buffer)


async def test_a_follower_holds_so_many_bytes_and_reads_the_rest(
    new_session: Open, settings: Settings
) -> None:
    bound(settings, BUFFER_BYTES=100 * KILO)
    session = (await new_session()).record
    reply = await get_hub().open(session.key, "post", [1])
    follower = get_hub().connections.follow(reply, 0, session)
    sent = [f"{number}{'x' * 30 * KILO}" for number in range(20)]
    most = 0
    for text in sent:
        await (await get_hub().append(reply, MESSAGE, text))
        most = max(most, held(follower))
    assert 0 < most <= 100 * KILO
    items = follower.items()
    got = []
    while len(got) < len(sent):
        item = await anext(items)
        if isinstance(item, Event):
            got.append(item.data)
        assert held(follower) <= 100 * KILO
    assert got == sent
    await items.aclose()
    get_hub().leave(reply)
    assert follower._size == held(follower) == 0


async def test_a_page_that_a_follower_reads_is_bounded_too(
    new_session: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(settings, BUFFER_BYTES=100 * KILO)
    session = (await new_session()).record
    for number in range(10):
        await (await get_hub().send_message(session.key, f"{number}{'x' * 30 * KILO}"))
    pages = []
    read = get_store().aread

    async def counting(*arguments: Any, **options: Any) -> Any:
        found = await read(*arguments, **options)
        pages.append(sum(len(event.data) for event in found.events))
        return found

    monkeypatch.setattr(get_store(), "aread", counting)
    follower = await get_hub().connections.follow_new(session)
    items = follower.items()
    got = [item.data[0] async for item in first(items, 10)]
    assert got == list("0123456789")
    assert max(pages) <= 100 * KILO
    await items.aclose()


async def first(items: Any, count: int) -> Any:
    while count:
        item = await anext(items)
        if isinstance(item, Event):
            count -= 1
            yield item


class Away:
    """A store's append that is away until it is back, and notes what it is asked to store at once."""

    def __init__(self) -> None:
        self.append = get_store().aappend
        self.is_back = False
        self.tried = asyncio.Event()
        self.batches: list[int] = []

    async def __call__(self, items: list[Append | Send], token: str) -> Any:
        if not self.is_back:
            self.tried.set()
            raise StoreUnavailable("It is away.")
        self.batches.append(sum(len(item.data) for item in items if isinstance(item, Send)))
        return await self.append(items, token)


async def test_who_sends_more_than_may_wait_waits(
    new_session: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(settings, QUEUE_BYTES=100 * KILO)
    session = (await new_session()).record
    store = Away()
    monkeypatch.setattr(get_store(), "aappend", store)
    hub = get_hub()
    stored = [await hub.send_message(session.key, "in a batch that is under way")]
    await store.tried.wait()
    stored += [await hub.send_message(session.key, "x" * 30 * KILO) for _ in range(4)]
    late = asyncio.ensure_future(hub.send_message(session.key, "x"))
    done, _ = await asyncio.wait({late}, timeout=0)
    await asyncio.sleep(0)
    assert not done and not late.done()
    assert hub._writer._size == 4 * 30 * KILO
    store.is_back = True
    stored.append(await late)
    assert all([await each for each in stored])
    assert hub._writer._size == 0


async def test_no_batch_has_more_bytes_than_may_be_stored_at_once(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await new_session()).record
    store = Away()
    monkeypatch.setattr(get_store(), "aappend", store)
    hub = get_hub()
    sizes = [BATCH_BYTES // 3] * 5 + [2 * BATCH_BYTES] + [10] * 5
    stored = [await hub.send_message(session.key, "a")]
    await store.tried.wait()
    stored += [await hub.send_message(session.key, "x" * size) for size in sizes]
    store.is_back = True
    assert all([await each for each in stored])
    assert sum(store.batches) == 1 + sum(sizes)
    assert max(size for size in store.batches if size != 2 * BATCH_BYTES) <= BATCH_BYTES
