"""Limits on sessions, from the outside: who is refused, and who makes room."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from mcp_sessions.lifecycle.last_used import Touches
from mcp_sessions.records import EndReason
from mcp_sessions.runtime import current, run
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, initialize
from tests.doors.conftest import OpenClient, every_door, on_mount
from tests.doors.doors import Door
from tests.process import rows

Settings = Any

pytestmark = pytest.mark.django_db(transaction=True)


async def written() -> None:
    """What was used is in the store."""
    await run(_write())


async def _write() -> None:
    await current().service(Touches).write()


def limit(settings: Settings, **options: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **options}


@every_door
async def test_past_the_limit_of_a_client_initialize_is_429(door: Door, settings: Settings) -> None:
    limit(settings, MAX_SESSIONS_PER_CLIENT=1, SESSION_REPLACEMENT_POLICY="reject")
    first = await McpClient(door).open()
    response = await McpClient(door).post(initialize())
    message = await response.json()
    assert (response.status, message["id"]) == (429, 0)
    assert message["error"]["data"] == {"reason": "session_limit"}
    assert int(response.headers["retry-after"]) > 0
    assert "mcp-session-id" not in response.headers
    assert (await rows())["Session"] == 1
    assert await first.status() == 200


async def test_past_the_limit_of_all_initialize_is_503(door: Door, settings: Settings) -> None:
    limit(settings, MAX_SESSIONS=1, SESSION_REPLACEMENT_POLICY="reject")
    first = await McpClient(door).open()
    response = await McpClient(door).post(initialize())
    assert (response.status, (await response.json())["error"]["data"]) == (503, {"reason": "session_limit"})
    assert int(response.headers["retry-after"]) > 0
    await first.delete()
    await McpClient(door).open()


@pytest.mark.parametrize("name", ["MAX_SESSIONS_PER_CLIENT", "MAX_SESSIONS", "MAX_STREAMS_PER_CLIENT"])
@on_mount
async def test_a_browser_past_a_limit_comes_back(door: Door, settings: Settings, name: str) -> None:
    """Any other status than 200 ends an EventSource for good."""
    limit(settings, **{name: 1}, SESSION_REPLACEMENT_POLICY="reject")
    first = await McpClient(door).get()
    assert (await first.next_event()).event == "session"
    refusal = await McpClient(door).get()
    why, event = await refusal.events()
    assert refusal.status == 200 and why.event == "error"
    assert why.json()["error"] == ("rate_limited" if "STREAMS" in name else "session_limit")
    assert event.retry is not None and event.retry >= 10_000
    # Others learn the status.
    assert (await McpClient(door).get(**{"Mcp-Session-Id": "B" * 32})).status in {404, 429}
    await first.disconnect()


async def test_a_refused_client_is_let_in_once_there_is_room(door: Door, settings: Settings) -> None:
    limit(settings, MAX_SESSIONS_PER_CLIENT=1, SESSION_REPLACEMENT_POLICY="reject")
    first = await McpClient(door).open()
    assert (await McpClient(door).post(initialize())).status == 429
    await first.delete()
    await McpClient(door).open()


async def test_the_second_session_ends_the_first(door: Door, settings: Settings) -> None:
    limit(settings, MAX_SESSIONS_PER_CLIENT=1)
    first = await McpClient(door).open()
    assert await first.call("echo", {"text": "a"}) == "a"
    second = await McpClient(door).open()
    assert await first.status() == 404
    assert await second.status() == 200


@on_mount
async def test_the_second_session_ends_the_open_stream_of_the_first(door: Door, settings: Settings) -> None:
    limit(settings, MAX_SESSIONS_PER_CLIENT=1)
    first = await McpClient(door).open()
    stream = await first.get()
    second = await McpClient(door).open()
    assert await stream.messages() == []
    assert (await first.get()).status == 404
    assert (await second.get()).status == 200


@on_mount
async def test_the_guides_client_is_told_that_it_was_replaced(door: Door, settings: Settings) -> None:
    limit(settings, MAX_SESSIONS_PER_CLIENT=1)
    guide = await McpClient(door).get()
    await McpClient(door).open()
    told = [event for event in await guide.events() if event.event != "heartbeat"]
    assert [event.event for event in told] == ["session", "endpoint", "session-limit", "session-expired"]
    session_id = told[0].json()["session_id"]
    assert told[2].json() == {
        "session_id": session_id,
        "message": "Another session took this one's place",
    }
    assert told[3].json() == {"session_id": session_id, "reason": EndReason.REPLACED}


async def test_who_never_uses_what_it_opens_pushes_out_only_that(door: Door, settings: Settings) -> None:
    limit(settings, MAX_SESSIONS_PER_CLIENT=3)
    used = await McpClient(door).open()
    assert await used.call("echo", {"text": "a"}) == "a"
    await written()
    for _ in range(6):
        last = await McpClient(door).open()
    assert await used.status() == 200
    assert await last.status() == 200
    assert (await get_store().astatistics(timezone.now())).live == 3


@on_mount
async def test_who_is_connected_is_replaced_last(door: Door, settings: Settings, connect: OpenClient) -> None:
    limit(settings, MAX_SESSIONS_PER_CLIENT=2)
    connected, other = await connect(), await connect()
    stream = await connected.get()
    await other.call("echo", {"text": "a"})
    await connect()
    assert await connected.status() == 200
    assert await other.status() == 404
    await stream.disconnect()


@every_door
async def test_addresses_are_told_apart_behind_a_trusted_proxy(door: Door, settings: Settings) -> None:
    limit(settings, MAX_SESSIONS_PER_CLIENT=1, TRUSTED_PROXIES=1, SESSION_REPLACEMENT_POLICY="reject")
    here, there = ({"X-Forwarded-For": f"forged, 192.0.2.{n}"} for n in (1, 2))
    assert (await McpClient(door).post(initialize(), here)).status == 200
    assert (await McpClient(door).post(initialize(), here)).status == 429
    assert (await McpClient(door).post(initialize(), there)).status == 200
