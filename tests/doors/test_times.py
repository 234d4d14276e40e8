"""How long sessions live, behind the doors: each sentence of docs/settings.md on time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import SessionNotFound
from mcp_sessions.lifecycle import aend_session, aextend_session, extend_session, open_session
from mcp_sessions.lifecycle.expiry_watch import Watch
from mcp_sessions.lifecycle.last_used import Touches
from mcp_sessions.models import Session
from mcp_sessions.runtime import current, run
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, call, initialize, notification
from tests.doors.conftest import OpenClient, either_loop, every_door, on_mount
from tests.doors.doors import Door, Response
from tests.process import eventually, in_thread, only_session
from tests.servers import DEADLINE, Gate, gates

Configure = Callable[..., None]


@pytest.fixture
def configure(settings: Any) -> Configure:
    def change(**options: Any) -> None:
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **options}

    return change


async def written() -> Session:
    """The only session, once what was noted is stored."""
    await run(_write())
    return await only_session()


async def _write() -> None:
    await current().service(Touches).write()


async def set_row(**values: Any) -> None:
    await in_thread(lambda: Session.objects.update(**values))


@every_door
async def test_a_session_ends_a_timeout_after_its_last_use(door: Door, configure: Configure) -> None:
    configure(SESSION_TIMEOUT=600)
    client = await McpClient(door).open()
    assert await client.status() == 200
    used = await written()
    assert used.expires_at - used.last_accessed_at == timedelta(seconds=600)
    assert used.timeout_at == used.expires_at
    assert await client.status() == 200
    again = await written()
    assert again.expires_at > used.expires_at
    assert again.requests == used.requests + 1


async def test_its_end_moves_only_when_less_than_the_threshold_remains(
    door: Door, configure: Configure
) -> None:
    configure(SESSION_TIMEOUT=600, SESSION_REFRESH_THRESHOLD=300)
    client = await McpClient(door).open()
    first = await written()
    assert await client.status() == 200
    used = await written()
    assert used.last_accessed_at > first.last_accessed_at
    assert used.expires_at == first.expires_at
    soon = timezone.now() + timedelta(seconds=299)
    await set_row(expires_at=soon, timeout_at=soon)
    assert await client.status() == 200
    assert (await written()).expires_at > soon + timedelta(seconds=290)


async def test_no_use_takes_a_session_past_its_lifetime(door: Door, configure: Configure) -> None:
    configure(SESSION_TIMEOUT=600, MAX_SESSION_LIFETIME=900)
    client = await McpClient(door).open()
    await written()
    opened = timezone.now() - timedelta(seconds=500)
    soon = opened + timedelta(seconds=600)
    await set_row(created_at=opened, expires_at=soon, timeout_at=soon)
    assert await client.status() == 200
    used = await written()
    assert used.expires_at == used.timeout_at == opened + timedelta(seconds=900)
    extended = await aextend_session(used.key, 3600)
    assert extended.expires_at == opened + timedelta(seconds=900)


async def test_the_handshakes_second_half_is_no_request(door: Door) -> None:
    client = await McpClient(door).open()
    assert (await written()).requests == 0
    await client.notify("notifications/progress", {"progressToken": 1, "progress": 1})
    await client.status()
    assert (await written()).requests == 2


@either_loop
async def test_a_sessions_first_request_is_written_soon(door: Door, configure: Configure) -> None:
    """Until then it is as one that nobody needs, and would be the first to be replaced."""
    configure(TOUCH_SECONDS=120)
    first = await McpClient(door).open()
    await first.status()
    await written()
    await first.delete()
    second = await McpClient(door).open()
    # The interval of TOUCH_SECONDS has only begun.
    await second.status()

    def was_used() -> bool:
        return Session.objects.filter(ended_at=None, requests=1).exists()

    async with asyncio.timeout(app_settings.TOUCH_SECONDS / 2):
        while not await in_thread(was_used):
            await asyncio.sleep(0.02)


@on_mount
async def test_who_writes_waits_for_what_is_being_written(
    connect: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at a session's end after that finds it moved, and a stopping process loses no use."""
    client = await connect()
    await written()
    is_writing, may_write, touch = asyncio.Event(), asyncio.Event(), get_store().atouch

    async def slowly(*arguments: Any) -> None:
        is_writing.set()
        await may_write.wait()
        await touch(*arguments)

    monkeypatch.setattr(get_store(), "atouch", slowly)
    assert await client.status() == 200
    await eventually(is_writing.is_set)
    writing = asyncio.create_task(written())
    is_done, _ = await asyncio.wait({writing}, timeout=0.1)
    may_write.set()
    assert not is_done
    assert (await writing).requests == 1


async def test_a_refused_request_neither_touches_nor_ends(door: Door) -> None:
    client = await McpClient(door).open()
    before = await written()
    at_another_endpoint = McpClient(door, path="/other", session_id=client.session_id)
    assert await at_another_endpoint.status() == 404
    assert (await at_another_endpoint.delete()).status == 404
    response = await client.post(notification("ping"), {"Origin": "https://evil.example"})
    assert response.status == 403
    assert (await client.send("DELETE", headers={"Origin": "https://evil.example"})).status == 403
    after = await written()
    assert (after.last_accessed_at, after.expires_at) == (before.last_accessed_at, before.expires_at)
    assert after.ended_at is None
    await set_row(expires_at=timezone.now())
    assert await client.status() == 404
    assert (await written()).ended_at is None


async def test_idle_sessions_end_before_their_timeout(door: Door, configure: Configure) -> None:
    configure(SESSION_TIMEOUT=600, IDLE_TIMEOUT=60)
    client = await McpClient(door).open()
    assert await client.status() == 200
    used = await written()
    assert used.expires_at - used.last_accessed_at == timedelta(seconds=60)
    assert used.timeout_at - used.last_accessed_at == timedelta(seconds=600)
    await set_row(expires_at=timezone.now())
    assert await client.status() == 404


@pytest.fixture
def forward(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Put the process's clock forward, by seconds: what takes minutes is over at once."""
    now, ahead = timezone.now, timedelta()

    def put_forward(seconds: float) -> None:
        nonlocal ahead
        ahead += timedelta(seconds=seconds)

    monkeypatch.setattr(timezone, "now", lambda: now() + ahead)
    return put_forward


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is open is looked at again at once, and not when half of the time is over."""
    get_pause = Watch._get_pause
    monkeypatch.setattr(Watch, "_get_pause", lambda *args: min(get_pause(*args), 0.02))


async def moves() -> Session:
    """The session's end moves by itself, again and again; the session as it was first."""
    first = seen = await written()
    for _ in range(2):
        async with asyncio.timeout(DEADLINE):
            while (found := await only_session()).expires_at == seen.expires_at:
                assert found.ended_at is None
                await asyncio.sleep(0.02)
        assert found.expires_at > seen.expires_at
        seen = found
    return first


async def open_stream(client: McpClient, dialect: str) -> Response:
    if dialect == "specification":
        return await (await client.open()).get()
    stream = await client.get()
    client.more_headers = {"X-Session-ID": (await stream.next_event()).json()["session_id"]}
    return stream


@on_mount
@pytest.mark.usefixtures("looks_often")
@pytest.mark.parametrize("dialect", ["specification", "guide"])
async def test_an_open_stream_holds_idleness_off(door: Door, configure: Configure, dialect: str) -> None:
    configure(IDLE_TIMEOUT=60)
    stream = await open_stream(McpClient(door), dialect)
    await moves()
    await stream.disconnect()
    idle = await written()
    assert idle.expires_at < idle.timeout_at


@either_loop
@pytest.mark.usefixtures("looks_often")
async def test_a_running_call_holds_idleness_off(door: Door, configure: Configure) -> None:
    configure(IDLE_TIMEOUT=60)
    client = await McpClient(door, path="/soon").open()
    gate = gates["idle"] = Gate()
    calling = client.posting(call("slow", {"gate": "idle"}))
    await gate.reached()
    await moves()
    gate.open()
    response = await calling
    assert response.status == 200
    await response.body()


@on_mount
@pytest.mark.usefixtures("looks_often")
async def test_who_is_connected_outlives_the_idle_timeout(
    door: Door, configure: Configure, forward: Callable[[float], None]
) -> None:
    configure(IDLE_TIMEOUT=600)
    client = McpClient(door)
    stream = await open_stream(client, "specification")
    first = await moves()
    for _ in range(2):
        forward(400)
        await moves()
    assert timezone.now() > first.expires_at
    assert await client.status() == 200
    await stream.disconnect()


@on_mount
@pytest.mark.usefixtures("looks_often")
async def test_an_open_stream_of_the_guide_does_not_hold_off_the_timeout(
    door: Door, configure: Configure, forward: Callable[[float], None]
) -> None:
    configure(SESSION_TIMEOUT=600, IDLE_TIMEOUT=400)
    stream = await McpClient(door).get()
    opened = await moves()
    # Held once, it lives up to SESSION_TIMEOUT, and no longer.
    forward(300)
    await eventually_ends_at(opened.timeout_at)
    assert (await only_session()).ended_at is None
    forward(300)
    told = [event for event in await stream.events() if event.event == "session-expired"]
    assert [event.json()["reason"] for event in told] == ["expired"]
    ended = await only_session()
    assert ended.ended_at == ended.timeout_at == opened.timeout_at


async def eventually_ends_at(instant: datetime) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await only_session()).expires_at != instant:
            await asyncio.sleep(0.02)


@on_mount
async def test_a_watched_session_does_not_wait_for_those_that_ran_out_before(
    door: Door, configure: Configure
) -> None:
    """However many they are: nobody looks at them, and a purge will end them."""
    configure(PURGE_BATCH=1, SESSION_TIMEOUT=1)
    for _ in range(3):
        await open_session("/mcp", "", {})
    await set_row(expires_at=timezone.now(), timeout_at=timezone.now())
    stream = await McpClient(door).get()
    told = [event for event in await stream.events() if event.event == "session-expired"]
    assert [event.json()["reason"] for event in told] == ["expired"]
    ended = await in_thread(lambda: list(Session.objects.exclude(ended_at=None)))
    assert [session.metadata["dialect"] for session in ended] == ["guide"]


@either_loop
async def test_a_session_is_extended_by_hand(door: Door, configure: Configure) -> None:
    configure(SESSION_TIMEOUT=60, IDLE_TIMEOUT=30)
    client = await McpClient(door).open()
    key = (await written()).key
    extended = await aextend_session(key, 3600)
    left = extended.expires_at - timezone.now()
    assert timedelta(seconds=3500) < left <= timedelta(seconds=3600)
    shorter = await in_thread(lambda: extend_session(key))
    assert shorter.expires_at == extended.expires_at
    assert await client.status() == 200
    assert (await written()).expires_at == extended.expires_at


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "60", timedelta(60)])
async def test_what_is_no_number_of_seconds_extends_nothing(connect: OpenClient, seconds: Any) -> None:
    await connect()
    before = await written()
    with pytest.raises(ValueError, match="seconds"):
        await aextend_session(before.key, seconds)
    assert (await only_session()).expires_at == before.expires_at


@pytest.mark.parametrize("reason", ["", "a\x00", "x" * 33, 5, None])
async def test_what_is_no_reason_ends_nothing(connect: OpenClient, reason: Any) -> None:
    client = await connect()
    with pytest.raises(ValueError, match="reason"):
        await aend_session((await only_session()).key, reason)
    assert await client.status() == 200


async def test_what_is_over_is_not_extended(connect: OpenClient) -> None:
    client = await connect()
    key = (await only_session()).key
    await client.delete()
    with pytest.raises(SessionNotFound):
        await aextend_session(key, 60)


@pytest.mark.parametrize(
    "damage", [{"data": "{no json"}, {"data": "[1]"}, {"data": ""}, {"metadata": ["not", "a", "dict"]}]
)
async def test_what_cannot_be_read_is_as_good_as_not_there(
    door: Door, damage: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = await McpClient(door).open()
    await set_row(**damage)
    with caplog.at_level(logging.ERROR, "mcp_sessions.stores"):
        for response in (await client.post(initialize()), await client.delete()):
            assert response.status == 404
        assert await client.status() == 404
    session = await written()
    assert f"session {session.key} cannot be read" in caplog.text
    assert all(getattr(session, name) == value for name, value in damage.items())
    assert session.ended_at is None
    assert json.dumps(damage) not in caplog.text
