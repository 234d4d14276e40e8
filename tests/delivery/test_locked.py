"""A row that somebody else has locked for long holds up nothing but what concerns it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import pytest

from mcp_sessions.delivery import get_hub, retry
from mcp_sessions.exceptions import StoreBusy
from mcp_sessions.lifecycle import last_used
from mcp_sessions.records import Append
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_store
from tests.process import eventually
from tests.sessions import Open

DEADLINE: Final = 30.0


class Locked:
    """A verb of the store that finds one row locked, until it is unlocked."""

    def __init__(self, verb: str, row: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.work = getattr(get_store(), verb)
        self.row: str | None = row
        self.found = 0
        monkeypatch.setattr(get_store(), verb, self)

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self.row in set(rows_of(arguments)):
            self.found += 1
            raise StoreBusy("The session store is busy.")
        return await self.work(*arguments, **named)

    def unlock(self) -> None:
        self.row = None


def rows_of(arguments: Iterable[Any]) -> Iterable[str]:
    for argument in arguments:
        if isinstance(argument, str):
            yield argument
        elif isinstance(argument, dict):
            yield from argument
        else:
            yield from (each.stream if isinstance(each, Append) else row_of(each) for each in argument)


def row_of(item: Any) -> str:
    row: str = getattr(item, "session", None) or item.key
    return row


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSES", (0.01,) * 10_000)


async def test_events_for_others_are_stored_meanwhile_and_each_in_order(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, free = [(await new_session()).record for _ in range(2)]
    streams = {each.key: await get_hub().connections.follow_new(each) for each in (busy, free)}
    locked = Locked("aappend", busy.key, monkeypatch)

    async def send(text: str) -> list[asyncio.Future[Any]]:
        return [await get_hub().send_message(each.key, text) for each in (busy, free)]

    async def received(session: Any) -> list[str]:
        reading = await get_store().aread(streams[session.key].stream.name, 0, 100)
        assert reading is not None
        return [event.data for event in reading.events]

    async with asyncio.timeout(DEADLINE):
        waiting = []
        for text in ("1", "2", "3"):
            slow, quick = await send(text)
            assert await quick
            waiting.append(slow)
        assert locked.found and not any(each.done() for each in waiting)
        assert await received(free) == ["1", "2", "3"]
        locked.unlock()
        await asyncio.gather(*waiting)
    assert await received(busy) == ["1", "2", "3"]
    await get_hub()._writer.flush(DEADLINE)
    assert not get_hub()._writer._lanes


async def test_whoever_brings_too_much_for_a_locked_row_waits(
    new_session: Open, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "QUEUE_BYTES": 10}
    busy, free = [(await new_session()).record for _ in range(2)]
    locked = Locked("aappend", busy.key, monkeypatch)
    async with asyncio.timeout(DEADLINE):
        first = await get_hub().send_message(busy.key, "1")
        while not get_hub()._writer._lanes:
            await asyncio.sleep(0)
        second = await get_hub().send_message(busy.key, "2" * 20)
        # The lane has taken the second one when another session's was stored.
        await (await get_hub().send_message(free.key, "a"))
        late = asyncio.ensure_future(get_hub().send_message(busy.key, "3"))
        await (await get_hub().send_message(free.key, "b"))
        assert not late.done() and not second.done()
        locked.unlock()
        await asyncio.gather(first, second, await late)


async def test_uses_of_others_are_written_meanwhile(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, *free = [(await new_session()).record for _ in range(4)]
    touches = current().service(last_used.Touches)
    locked = Locked("atouch", busy.key, monkeypatch)
    for each in (free[0], busy, *free[1:]):
        last_used.touch(each, requests=1)
    await touches.write()

    async def requests(session: Any) -> int:
        found = await get_store().aload_by_key(session.key)
        assert found is not None
        return found.requests - session.requests

    assert locked.found and [await requests(each) for each in (busy, *free)] == [0, 1, 1, 1]
    locked.unlock()
    await touches.write()
    assert [await requests(each) for each in (busy, *free)] == [1, 1, 1, 1]


async def test_how_far_others_were_sent_is_stored_meanwhile(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [(await new_session()).record for _ in range(3)]
    followers = [await get_hub().connections.follow_new(each) for each in sessions]
    names = [each.stream.name for each in followers]
    locked = Locked("amark_delivered", names[1], monkeypatch)
    for session, follower in zip(sessions, followers, strict=True):
        await (await get_hub().send_message(session.key, "1"))
        # As if it had been sent.
        follower.position = 1
        get_hub().connections._delivered.note(follower)
    await get_hub().connections.save()

    async def delivered() -> list[int]:
        found = await get_store().afind_streams(names)
        return [found[name].delivered for name in names]

    assert locked.found
    assert await delivered() == [1, 0, 1]
    locked.unlock()
    await get_hub().connections.save()
    assert await delivered() == [1, 1, 1]
    await eventually(lambda: not get_hub()._writer._lanes)
