"""SESSION_BINDING: a session is used from where it was opened, and anybody else finds it unknown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, call, initialize, notification, request
from tests.doors.conftest import on_mount
from tests.doors.doors import Door, Response
from tests.process import only_session
from tests.servers import gates

Bind = Callable[..., Awaitable[None]]

HOME: Final = {"X-Forwarded-For": "203.0.113.9", "User-Agent": "shop/1"}
ELSEWHERE: Final = {**HOME, "X-Forwarded-For": "203.0.113.10"}
OTHERWISE: Final = {**HOME, "User-Agent": "shop/2"}
UNKNOWN: Final = "Z" * 32


@pytest.fixture
def bind(settings: Any) -> Bind:
    """`await bind(address="reject")`: what sessions are bound to, for every endpoint."""

    async def change(**binding: Any) -> None:
        changed = {**settings.MCP_SESSIONS, "SESSION_BINDING": binding, "TRUSTED_PROXIES": 1}
        # The store is closed with it, which waits.
        await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", changed)

    return change


def moved(client: McpClient, headers: dict[str, str], session_id: str | None = None) -> McpClient:
    """Whoever has the client's id, and comes from elsewhere."""
    known = client.session_id if session_id is None else session_id
    return McpClient(client.door, client.path, client.version, known, dict(headers))


async def whole(response: Response) -> tuple[int, dict[str, str], bytes]:
    return response.status, response.headers, await response.body()


ATTEMPTS: Final[dict[str, Callable[[McpClient], Awaitable[Response]]]] = {
    "request": lambda client: client.post(request("ping", id=7)),
    "notification": lambda client: client.post(notification("notifications/initialized")),
    "reply": lambda client: client.post({"jsonrpc": "2.0", "id": "ask-" + "0" * 16, "result": {}}),
    "cancellation": lambda client: client.post(notification("notifications/cancelled", {"requestId": 1})),
    "another initialize": lambda client: client.post(initialize()),
    "DELETE": lambda client: client.delete(),
    "the session guide's header": lambda client: client.post(
        request("ping", id=7), {"Mcp-Session-Id": None, "X-Session-ID": client.session_id}
    ),
}


@pytest.mark.parametrize("door", ["view-wsgi", "mount"], indirect=True)
@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("headers", [ELSEWHERE, OTHERWISE], ids=["address", "user_agent"])
async def test_who_has_the_id_and_comes_from_elsewhere_gets_what_an_unknown_id_gets(
    door: Door, bind: Bind, attempt: str, headers: dict[str, str]
) -> None:
    await bind(address="reject", user_agent="reject")
    client = await McpClient(door, more_headers=dict(HOME)).open()
    thief, stranger = moved(client, headers), moved(client, headers, UNKNOWN)
    assert await whole(await ATTEMPTS[attempt](thief)) == await whole(await ATTEMPTS[attempt](stranger))
    # And nothing has become of the session.
    assert await client.status() == 200


@on_mount
async def test_streams_too_and_the_store_is_asked_as_often(
    door: Door, bind: Bind, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bind(address="reject")
    client = await McpClient(door, more_headers=dict(HOME)).open()
    asked: list[str] = []
    store = type(get_store())
    for name in ("aload", "aload_by_key", "afind_streams", "aattach"):
        monkeypatch.setattr(store, name, counting(asked, name, getattr(store, name)))
    for last_event_id in (None, "0123456789abcdef.1"):
        thief, stranger = moved(client, ELSEWHERE), moved(client, ELSEWHERE, UNKNOWN)
        assert await whole(await thief.get(last_event_id)) == await whole(await stranger.get(last_event_id))
    assert asked == ["aload"] * 4


def counting(asked: list[str], name: str, verb: Any) -> Any:
    async def ask(store: Any, *args: Any, **options: Any) -> Any:
        asked.append(name)
        return await verb(store, *args, **options)

    return ask


@on_mount
@pytest.mark.parametrize("how", ["X-Session-ID", "session_id", "last-event-id", "endpoint"])
async def test_every_way_of_the_session_guide_is_bound(door: Door, bind: Bind, how: str) -> None:
    await bind(address="reject")
    stream = await McpClient(door, more_headers=dict(HOME)).get()
    opened, endpoint = await stream.next_event(), await stream.next_event()
    session_id = opened.json()["session_id"]

    async def attempt(session_id: str, event_id: str, headers: dict[str, str]) -> Response:
        client = McpClient(door, more_headers=dict(headers))
        if how == "endpoint":
            path = str(endpoint.data).partition("=")[0] + f"={session_id}"
            return await McpClient(door, path, more_headers=dict(headers)).post(request("ping"))
        if how == "session_id":
            client.path = f"/mcp?session_id={session_id}"
        if how == "X-Session-ID":
            return await client.get(**{"X-Session-ID": session_id})
        return await client.get(event_id if how == "last-event-id" else None)

    stolen = await whole(await attempt(session_id, str(opened.id), ELSEWHERE))
    unknown = await whole(await attempt(UNKNOWN, "A" * 80 + ".1", ELSEWHERE))
    assert (stolen[0], stolen[1], stolen[2].replace(session_id.encode(), UNKNOWN.encode())) == unknown
    # The id is in the answer only where who asked had it in clear.
    assert how in ("X-Session-ID", "session_id") or session_id.encode() not in stolen[2]
    response = await attempt(session_id, str(opened.id), HOME)
    assert response.status in (200, 202)


@pytest.mark.parametrize("door", ["view", "mount"], indirect=True)
async def test_what_is_recorded_at_the_opening_is_not_changed_by_whoever_comes_later(
    door: Door, bind: Bind
) -> None:
    await bind(address="log", user_agent="log")
    client = await McpClient(door, more_headers=dict(HOME)).open()
    for headers in (ELSEWHERE, OTHERWISE):
        assert await moved(client, headers).status() == 200
        assert await moved(client, headers).call("echo", {"text": "a"}) == "a"
    metadata = (await only_session()).metadata
    assert (metadata["address"], metadata["user_agent"]) == ("203.0.113.9", "shop/1")


@on_mount
async def test_an_initialize_that_fills_a_session_does_not_move_it(door: Door, bind: Bind) -> None:
    await bind(address="log")
    stream = await McpClient(door, more_headers=dict(HOME)).get()
    session_id = (await stream.next_event()).json()["session_id"]
    filled = await McpClient(door, more_headers=dict(ELSEWHERE)).post(
        initialize(), {"X-Session-ID": session_id}
    )
    assert filled.status == 200 and (await filled.json())["result"]
    assert (await only_session()).metadata["address"] == "203.0.113.9"


@on_mount
async def test_a_call_that_runs_is_not_reached_from_elsewhere(door: Door, bind: Bind, gate: str) -> None:
    await bind(address="reject")
    client = await McpClient(door, more_headers=dict(HOME)).open()
    calling = client.posting(call("slow", {"gate": gate}, id=5))
    await gates[gate].reached()
    cancelling = await moved(client, ELSEWHERE).post(
        notification("notifications/cancelled", {"requestId": 5})
    )
    assert cancelling.status == 404
    gates[gate].open()
    assert "result" in (await (await calling).json())


@pytest.mark.parametrize(
    ("opened_at", "used_at", "status"),
    [
        ("203.0.113.9", "203.0.113.200", 200),
        ("203.0.113.9", "203.0.114.9", 404),
        ("::ffff:203.0.113.9", "203.0.113.10", 200),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", 200),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", 404),
        ("203.0.113.9", "2001:db8::1", 404),
    ],
)
@on_mount
async def test_a_network_may_do(door: Door, bind: Bind, opened_at: str, used_at: str, status: int) -> None:
    await bind(address="reject", ipv4_prefix=24, ipv6_prefix=64)
    client = await McpClient(door, more_headers={"X-Forwarded-For": opened_at}).open()
    assert await moved(client, {"X-Forwarded-For": used_at}).status() == status


@on_mount
async def test_sessions_are_bound_to_nothing_else_by_themselves(door: Door, bind: Bind) -> None:
    await bind(user="reject")
    client = await McpClient(door, more_headers=dict(HOME)).open()
    assert await moved(client, {**ELSEWHERE, **OTHERWISE}).status() == 200


@on_mount
async def test_each_policy_says_so_in_the_log_by_the_key_and_counts_repeats(
    door: Door, bind: Bind, caplog: pytest.LogCaptureFixture
) -> None:
    await bind(address="reject", user_agent="log")
    caplog.set_level(logging.DEBUG)
    client = await McpClient(door, more_headers=dict(HOME)).open()
    for _ in range(10):
        await moved(client, ELSEWHERE).status()
        await moved(client, OTHERWISE).status()
    key = (await only_session()).key
    lines = [each.getMessage() for each in caplog.records if hasattr(each, "mcp_event")][1:]
    mismatch = f"session {key} is used from 203.0.113.9 with another user_agent than it was opened with"
    assert lines == [
        f"request refused: address, from 203.0.113.10 at /mcp, owner -, session {key}",
        mismatch,
        f"{mismatch}, 10 times by now",
    ]
    assert str(client.session_id) not in caplog.text
