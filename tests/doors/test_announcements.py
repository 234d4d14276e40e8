"""The signals that tell of sessions: each once, in order, with its reason."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from django.dispatch import Signal
from django.utils import timezone

from mcp_sessions import background, signals
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.lifecycle import aextend_session, awarn_expiring, end, purge
from mcp_sessions.models import Session
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.stores import get_store
from mcp_sessions.stores.database import DatabaseSessionStore
from tests.doors.client import McpClient, call, initialize
from tests.doors.conftest import OpenClient, either_loop, every_door, on_mount
from tests.doors.doors import Door
from tests.process import eventually, in_thread
from tests.servers import DEADLINE, Gate, gates

Settings = Any

SIGNALS: Final[dict[str, Signal]] = {
    name: signal for name, signal in vars(signals).items() if isinstance(signal, Signal)
}


class Heard:
    """What was sent, as (signal, reason), and to whom."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []
        self.sessions: list[SessionRecord] = []
        self.more: list[dict[str, Any]] = []

    def hear(self, name: str, **told: Any) -> None:
        assert told.pop("sender") is SessionRecord
        told.pop("signal")
        self.all.append((name, told.pop("reason")))
        self.sessions.append(told.pop("session"))
        self.more.append(told)

    async def told(self) -> list[tuple[str, str]]:
        await flush_deferred()
        return self.all

    async def names(self) -> list[str]:
        return [name for name, _ in await self.told()]


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    receivers = []
    for name, signal in SIGNALS.items():

        def receive(name: str = name, **told: Any) -> None:
            heard.hear(name, **told)

        signal.connect(receive)
        receivers.append((signal, receive))
    yield heard
    for signal, receive in receivers:
        signal.disconnect(receive)


async def run_out() -> None:
    """Before it was used: a use that is written later moves no end that is past."""
    at = timezone.now() - timedelta(hours=1)
    await in_thread(lambda: Session.objects.update(expires_at=at, timeout_at=at))


@every_door
async def test_a_session_is_created_and_ended(door: Door, heard: Heard) -> None:
    client = await McpClient(door).open()
    await client.delete()
    assert await heard.told() == [("session_created", "initialize"), ("session_ended", "deleted")]
    created, ended = heard.sessions
    assert created.key == ended.key
    assert (created.ended_at, ended.end_reason) == (None, EndReason.DELETED)


@either_loop
async def test_who_has_ended_it_tells_and_nobody_else(connect: OpenClient, heard: Heard) -> None:
    await connect()
    key = (await in_thread(Session.objects.get)).key
    await asyncio.gather(*(end(key, EndReason.OPERATOR) for _ in range(5)))
    await in_thread(purge)
    assert (await heard.told())[1:] == [("session_ended", "operator")]


@either_loop
async def test_two_purges_and_a_request_at_one_expiry(connect: OpenClient, heard: Heard) -> None:
    client = await connect()
    await run_out()
    _, _, status = await asyncio.gather(in_thread(purge), in_thread(purge), client.status())
    assert status == 404
    assert (await heard.told())[1:] == [("session_expired", "expired")]


async def test_a_session_that_was_not_used_is_idle(door: Door, settings: Settings, heard: Heard) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "IDLE_TIMEOUT": 0.05}
    await McpClient(door).post(initialize())
    at = (await in_thread(Session.objects.get)).expires_at
    await eventually(lambda: timezone.now() >= at)
    await in_thread(purge)
    assert (await heard.told())[1:] == [("session_expired", "idle")]


async def test_a_refused_client_is_told_of(door: Door, settings: Settings, heard: Heard) -> None:
    settings.MCP_SESSIONS = {
        **settings.MCP_SESSIONS,
        "MAX_SESSIONS_PER_CLIENT": 1,
        "SESSION_REPLACEMENT_POLICY": "reject",
    }
    await McpClient(door).post(initialize())
    await McpClient(door).post(initialize())
    assert await heard.told() == [("session_created", "initialize"), ("session_limit_reached", "principal")]


async def test_a_replaced_session_is_told_of(door: Door, settings: Settings, heard: Heard) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "MAX_SESSIONS_PER_CLIENT": 1}
    await McpClient(door).post(initialize())
    await McpClient(door).post(initialize())
    assert (await heard.told())[1:] == [
        ("session_created", "initialize"),
        ("session_limit_reached", "replaced"),
        ("session_ended", "replaced"),
    ]
    first, _, *replaced = heard.sessions
    assert {session.key for session in replaced} == {first.key}


@on_mount
async def test_connections_are_opened_and_closed(connect: OpenClient, heard: Heard) -> None:
    client = await connect()
    stream = await client.get()
    await stream.next_event()
    await stream.disconnect()
    assert (await heard.told())[1:] == [("connection_opened", "get"), ("connection_closed", "client")]
    opened, closed = (more["stream"].name for more in heard.more[1:])
    assert opened == closed


@on_mount
async def test_who_comes_back_is_told_of(connect: OpenClient, heard: Heard) -> None:
    client = await connect()
    stream = await client.get()
    primed = await stream.next_event()
    await stream.disconnect()
    again = await client.get(primed.id)
    assert (await heard.names())[3:] == ["connection_opened", "session_resumed"]
    await client.delete()
    await again.body()
    assert (await heard.told())[5:] == [("session_ended", "deleted"), ("connection_closed", "session")]


@on_mount
async def test_a_connection_past_the_limit(connect: OpenClient, settings: Settings, heard: Heard) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "MAX_CONNECTIONS_PER_SESSION": 1}
    client = await connect()
    first = await client.get()
    second = await client.get()
    await first.body()
    told = await heard.told()
    assert ("session_limit_reached", "connections") in told
    assert ("connection_closed", "limit") in told
    assert told.count(("connection_opened", "get")) == 2
    await second.disconnect()


@on_mount
async def test_a_session_is_warned_once_for_each_end(
    door: Door, settings: Settings, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The second stream is no use that moves the end, however late it comes.
    options = {"SESSION_WARNING_SECONDS": 1799.95, "SESSION_REFRESH_THRESHOLD": 60}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **options}
    looks, are_open, warn = asyncio.Event(), asyncio.Event(), get_store().awarn

    async def once_both_are_open(key: str, *arguments: Any) -> bool:
        looks.set()
        await are_open.wait()
        return await warn(key, *arguments)

    monkeypatch.setattr(get_store(), "awarn", once_both_are_open)
    first = await McpClient(door).get()
    opened = (await first.next_event()).json()
    # It opens while the store is told of the first one's warning.
    await asyncio.wait_for(looks.wait(), DEADLINE)
    second = await McpClient(door).get(**{"X-Session-ID": opened["session_id"]})
    are_open.set()
    for stream in (first, second):
        while (await stream.next_event()).event != "session-warning":
            pass
    await eventually(lambda: ("session_warned", "expiring") in heard.all)
    assert (await heard.names()).count("session_warned") == 1
    await aextend_session(heard.sessions[0].key, 3600)
    await end(heard.sessions[0].key, EndReason.OPERATOR)
    for stream in (first, second):
        assert "session-warning" not in [event.event for event in await stream.events()]


@either_loop
async def test_who_is_away_is_told_of_once_however_many_look(
    door: Door, settings: Settings, heard: Heard
) -> None:
    # The handshake's second half is written a moment later, and would move the end.
    options = {"SESSION_WARNING_SECONDS": 1801, "SESSION_REFRESH_THRESHOLD": 60}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **options}
    clients = [await McpClient(door).open() for _ in range(3)]
    assert sum(await asyncio.gather(*(awarn_expiring() for _ in range(4)))) == 3
    assert [name for name in await heard.told() if name == ("session_warned", "expiring")] == [
        ("session_warned", "expiring")
    ] * 3
    assert await awarn_expiring() == 0
    await aextend_session(heard.sessions[-1].key, 1800.5)
    assert await awarn_expiring() == 1
    for client in clients:
        await client.delete()
    assert await awarn_expiring() == 0


@pytest.mark.parametrize("seconds", [60, None])
async def test_who_does_not_expire_soon_is_not_told_of(
    door: Door, settings: Settings, heard: Heard, seconds: float | None
) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_WARNING_SECONDS": seconds}
    await McpClient(door).open()
    assert await awarn_expiring() == 0
    assert "session_warned" not in await heard.names()


@on_mount
async def test_who_was_warned_by_a_worker_is_not_told_of_again(
    door: Door, settings: Settings, heard: Heard
) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_WARNING_SECONDS": 1799.95}
    stream = await McpClient(door).get()
    while (await stream.next_event()).event != "session-warning":
        pass
    assert await awarn_expiring() == 0
    assert (await heard.names()).count("session_warned") == 1
    await stream.disconnect()


class AwayAtWarnings(DatabaseSessionStore):
    """A store that is away when it is first told of a warning."""

    is_back = False

    def warn(self, key: str, expires_at: datetime) -> bool:
        if not self.is_back:
            self.is_back = True
            raise StoreUnavailable("It is away.")
        return super().warn(key, expires_at)


@on_mount
async def test_a_client_is_warned_once_although_the_store_was_away(
    door: Door, settings: Settings, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)
    settings.MCP_SESSIONS = {
        **settings.MCP_SESSIONS,
        "SESSION_WARNING_SECONDS": 1799.95,
        "SESSION_STORE": {"BACKEND": f"{__name__}.AwayAtWarnings"},
    }
    stream = await McpClient(door).get()
    await eventually(lambda: ("session_warned", "expiring") in heard.all)
    await end(heard.sessions[0].key, EndReason.OPERATOR)
    told = [event.event for event in await stream.events() if event.event != "heartbeat"]
    assert told == ["session", "endpoint", "session-warning", "session-expired"]


@on_mount
async def test_a_long_call_brings_no_second_warning(door: Door, settings: Settings, heard: Heard) -> None:
    """Nothing moves the end of this session any more: there is one to be warned of."""
    settings.MCP_SESSIONS = {
        **settings.MCP_SESSIONS,
        "SESSION_TIMEOUT": 600,
        "MAX_SESSION_LIFETIME": 600,
        "SESSION_WARNING_SECONDS": 599.9,
    }
    guide = McpClient(door, path="/soon")
    stream = await guide.get()
    guide.more_headers = {"X-Session-ID": (await stream.next_event()).json()["session_id"]}
    while (await stream.next_event()).event != "session-warning":
        pass
    gate = gates["warned"] = Gate()
    response = await guide.post(call("slow", {"gate": "warned"}))
    assert response.is_stream
    for _ in range(3):
        await guide.status()
    gate.open()
    await response.body()
    await guide.delete()
    assert "session-warning" not in [event.event for event in await stream.events()]


async def test_what_a_receiver_raises_harms_nobody(
    door: Door, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise ValueError("a receiver's own mistake")

    signals.session_created.connect(fail)
    try:
        with caplog.at_level(logging.ERROR, "mcp_sessions"):
            client = await McpClient(door).open()
            await client.delete()
            assert await heard.names() == ["session_created", "session_ended"]
    finally:
        signals.session_created.disconnect(fail)
    assert "a receiver's own mistake" in caplog.text


@either_loop
async def test_receivers_may_use_the_database_and_be_async(door: Door, heard: Heard) -> None:
    found: list[str] = []

    def look(session: SessionRecord, **_: Any) -> None:
        found.append(Session.objects.get(key=session.key).key)

    async def look_too(session: SessionRecord, **_: Any) -> None:
        found.append((await Session.objects.aget(key=session.key)).key)

    for receiver in (look, look_too):
        signals.session_created.connect(receiver)
    try:
        await McpClient(door).post(initialize())
        await flush_deferred()
    finally:
        for receiver in (look, look_too):
            signals.session_created.disconnect(receiver)
    assert found == [heard.sessions[0].key] * 2
