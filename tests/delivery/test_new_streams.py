"""A new GET stream has no events: it is not read, unless something was stored while it was attached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mcp_sessions.delivery import Follower, get_hub
from mcp_sessions.records import Event, Send, SessionRecord
from mcp_sessions.stores import get_store
from tests.process import eventually
from tests.servers import DEADLINE
from tests.sessions import Open

Meanwhile = Callable[[str, str], Awaitable[object]]
LONG_SECONDS = 3600


async def store_here(session_key: str, _: str) -> None:
    await (await get_hub().send_message(session_key, '"a"'))


async def store_elsewhere(session_key: str, stream: str) -> None:
    """Another process stores it, and this one hears of it."""
    await get_store().aappend([Send(session_key, "message", '"a"')])
    get_hub().connections.look_again([stream])


@pytest.fixture
async def session(new_session: Open, settings: Any) -> SessionRecord:
    """In a process that holds another one: it has heard of all changes since."""
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "POLL_SECONDS": LONG_SECONDS}
    await get_hub().connections.follow_new((await new_session()).record)
    return (await new_session()).record


async def first_of(follower: Follower) -> Any:
    async with asyncio.timeout(DEADLINE):
        return await anext(follower.items())


@pytest.mark.parametrize("meanwhile", [store_here, store_elsewhere])
async def test_what_is_stored_while_a_stream_is_attached_is_read(
    session: SessionRecord, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = get_store().aattach

    async def attach_slowly(key: str, name: str, *arguments: Any, **named: Any) -> Any:
        attached = await attach(key, name, *arguments, **named)
        await meanwhile(key, name)
        return attached

    monkeypatch.setattr(get_store(), "aattach", attach_slowly)
    follower = await get_hub().connections.follow_new(session)
    assert await first_of(follower) == Event(1, "message", '"a"')


async def test_a_new_stream_is_not_read(session: SessionRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was read")

    monkeypatch.setattr(get_store(), "aread", refuse)
    follower = await get_hub().connections.follow_new(session)
    reading = asyncio.create_task(first_of(follower))
    await eventually(lambda: follower.is_idle)
    await (await get_hub().send_message(session.key, '"a"'))
    assert await reading == Event(1, "message", '"a"')


async def test_what_waits_for_a_new_stream_is_read(session: SessionRecord) -> None:
    await (await get_hub().send_message(session.key, '"a"'))
    follower = await get_hub().connections.follow_new(session)
    assert await first_of(follower) == Event(1, "message", '"a"')
