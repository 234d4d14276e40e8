"""HTTP+SSE, the transport of 2024-11-05, at the two paths of an older server (SSE_PATHS)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_sessions import aend_session, asend_session_message
from mcp_sessions.runtime import current
from tests.doors.client import LATEST, McpClient, call, initialize, notification, request, text_of
from tests.doors.conftest import every_door
from tests.doors.doors import AsgiDoor, Door, Response, open_door
from tests.doors.test_modern import MODERN, modern, post
from tests.process import only_session
from tests.servers import DEADLINE

STREAM, MESSAGES = "/sse", "/old/messages"


async def connected(door: Door, path: str = STREAM) -> tuple[Response, str]:
    """The stream, and the URL to post to, which is its first event."""
    stream = await McpClient(door, path=path).get()
    assert stream.status == 200
    event = await stream.next_event()
    assert event.event == "endpoint"
    return stream, str(event.data)


async def sent(door: Door, url: str, message: Any) -> None:
    response = await McpClient(door, path=url).post(message, {"Accept": None})
    assert (response.status, await response.body()) == (202, b"")


async def opened(door: Door) -> tuple[Response, str]:
    stream, url = await connected(door)
    await sent(door, url, initialize("2024-11-05"))
    assert (await stream.next_message())["result"]["protocolVersion"] == "2024-11-05"
    await sent(door, url, notification("notifications/initialized"))
    return stream, url


async def test_a_client_opens_a_stream_and_posts_to_the_other_path(door: Door) -> None:
    stream, url = await opened(door)
    assert url.startswith(f"{MESSAGES}?")
    await sent(door, url, call("progress", {"steps": 2}, id=7, token="t"))
    *steps, result = [await stream.next_message() for _ in range(3)]
    assert [step["params"]["progress"] for step in steps] == [1, 2]
    assert (result["id"], text_of(result)) == (7, "done")
    assert (await only_session()).server == "/old"


@pytest.fixture
def soon(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "HEARTBEAT_SECONDS": 0.05}


async def test_the_stream_has_nothing_that_the_client_does_not_know(soon: None, door: Door) -> None:
    """Go's client takes whatever comes after the first event for a message."""
    stream, url = await opened(door)
    key = (await only_session()).key
    await asend_session_message(key, event="order-shipped", data={"order": 1})
    async with asyncio.timeout(DEADLINE):
        while not any(event.is_comment for event in stream.seen):
            await sent(door, url, call("echo", {"text": "ä"}))
            assert text_of(await stream.next_message()) == "ä"
    await aend_session(key)
    await stream.events()
    others = [event for event in stream.seen[1:] if not event.is_comment and not event.is_message]
    assert others == []


async def test_who_comes_back_gets_what_came_meanwhile(door: Door) -> None:
    """As EventSource does it, which is what the TypeScript client uses."""
    stream, url = await opened(door)
    last = stream.seen[-1].id
    await stream.disconnect()
    await sent(door, url, call("echo", {"text": "ä"}))
    again = await McpClient(door, path=STREAM).get(last)
    assert (await again.next_event()).data == url
    assert text_of(await again.next_message()) == "ä"
    await aend_session((await only_session()).key)
    await again.events()
    assert (await McpClient(door, path=STREAM).get(last)).status == 404


async def test_while_the_server_stops_nobody_gets_half_a_stream(door: Door) -> None:
    stream, _ = await opened(door)
    current().draining = True
    refused = await McpClient(door, path=STREAM).get()
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    await stream.disconnect()


@every_door
async def test_messages_may_come_through_any_door(door: Door) -> None:
    mounted = open_door("mount")
    stream, url = await opened(mounted)
    await sent(door, url, call("echo", {"text": "ä"}))
    assert text_of(await stream.next_message()) == "ä"
    await mounted.close()


@every_door
async def test_the_path_of_messages_needs_the_streams_session(door: Door) -> None:
    for message, headers in (
        (initialize(), {}),
        (request("ping"), {"Mcp-Session-Id": "A" * 32}),
        (modern(request("tools/list")), {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}),
    ):
        response = await McpClient(door, path=MESSAGES).post(message, headers)
        assert response.status == 400
        assert STREAM in (await response.json())["error"]["message"]
    assert (await McpClient(door, path=MESSAGES).delete()).status == 405
    assert (
        await McpClient(door, path=f"{MESSAGES}?sse_session={'A' * 32}").post(request("ping"))
    ).status == 404


async def test_each_path_has_its_method(door: Door) -> None:
    """By the 405 a client that tries Streamable HTTP first knows that it must not."""
    for path, method, allowed in (
        (STREAM, "POST", "GET"),
        (STREAM, "DELETE", "GET"),
        (MESSAGES, "GET", "POST"),
        (MESSAGES, "DELETE", "POST"),
    ):
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        response = await McpClient(door, path=path).send(method, b"{}", headers)
        assert (response.status, response.headers["allow"]) == (405, allowed), (path, method)


async def test_behind_a_prefix_the_stream_names_the_path_with_it(door: AsgiDoor) -> None:
    door.root_path = "/shop"
    _, url = await connected(door, f"/shop{STREAM}/")
    assert url.startswith(f"/shop{MESSAGES}?")


async def test_the_endpoints_own_path_is_served_as_ever(door: Door) -> None:
    client = await McpClient(door, path="/old").open()
    assert (await client.call("echo", {"text": "ä"}), client.version) == ("ä", LATEST)
    answer = await (await post(door, modern(call("echo", {"text": "ä"})), path="/old")).json()
    assert text_of(answer) == "ä"
