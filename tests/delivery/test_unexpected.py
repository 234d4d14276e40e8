"""An error that nobody expected ends none of a process's loops: what could not be done is done later."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import pytest

from mcp_sessions import background
from mcp_sessions.delivery import get_hub
from mcp_sessions.delivery.follower import KEEP_ALIVE
from mcp_sessions.lifecycle import expiry_watch, last_used
from mcp_sessions.records import MESSAGE
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_store
from tests.process import eventually, in_thread
from tests.sessions import Open

DEADLINE: Final = 30.0


class Failing:
    """A verb of the store that fails so often, as nobody foresaw."""

    def __init__(self, verb: str, monkeypatch: pytest.MonkeyPatch, times: int = 2) -> None:
        self.work = getattr(get_store(), verb)
        self.left = times
        monkeypatch.setattr(get_store(), verb, self)

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left >= 0:
            raise RuntimeError("nobody foresaw this")
        return await self.work(*arguments, **named)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(last_used, "LINGER_SECONDS", 0.01)
    caplog.set_level(logging.CRITICAL)


async def test_keep_alives_go_on(new_session: Open, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "HEARTBEAT_SECONDS": 0.02}
    session = (await new_session()).record
    failing = Failing("amark_delivered", monkeypatch)
    reply = await get_hub().open(session.key, "post", [1])
    follower = get_hub().connections.follow(reply, 0, session)
    await (await get_hub().append(reply, MESSAGE, '"a"'))
    async with asyncio.timeout(DEADLINE):
        beats = 0
        async for item in follower.items():
            # The message counts as sent only when the next step is asked for.
            beats += item is KEEP_ALIVE and failing.left < 0
            if beats == 2:
                break
    get_hub().leave(reply)
    async with asyncio.timeout(DEADLINE):
        while (await get_store().afind_streams([reply.name]))[reply.name].delivered != 1:
            await asyncio.sleep(0.01)


async def test_inboxes_are_read_later(
    new_session: Open, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No poller finds the message meanwhile.
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "POLL_SECONDS": 3600}
    session = (await new_session()).record
    heard: list[str] = []
    hub = get_hub()
    monkeypatch.setattr(hub.connections, "displace", lambda **told: heard.append(told["stream"]))
    hub.connections.follow(await hub.open(session.key, "post", [1]), 0, session)
    failing = Failing("aread", monkeypatch)
    await hub._inboxes.post(session.key, {"close": {"stream": "a"}})
    await eventually(lambda: heard == ["a"])
    assert failing.left < 0


async def test_uses_are_written_later(new_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    session = (await new_session()).record
    failing = Failing("atouch", monkeypatch)
    for _ in range(3):
        last_used.touch(session, requests=1)
        await current().service(last_used.Touches).write()
    await eventually(lambda: failing.left < 0)
    await current().service(last_used.Touches).write()
    found = await get_store().aload_by_key(session.key)
    assert found is not None
    assert found.requests == session.requests + 3


async def test_the_end_of_a_session_is_told_later(
    new_session: Open, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_TIMEOUT": 0.3}
    session = (await new_session("guide")).record
    follower = await get_hub().connections.follow_new(session)
    failing = Failing("aload_by_key", monkeypatch)
    expiry_watch.watch(session)
    async with asyncio.timeout(DEADLINE):
        async for _ in follower.items():
            pass
    assert failing.left < 0
    assert await in_thread(lambda: get_store().load_by_key(session.key)) is not None
