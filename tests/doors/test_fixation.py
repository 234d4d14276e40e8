"""Fixation: ids come from the server alone. One that a client chose never names a session, wherever it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from mcp_sessions import arotate_session
from mcp_sessions.identifiers import digest_of
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, initialize, request
from tests.doors.conftest import on_mount
from tests.doors.doors import Door, Response
from tests.process import rows

CHOSEN: Final = "A1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6"
"""Of the form of our own ids."""

Attempt = Callable[[Door], Awaitable[Response]]

PLACES: Final[dict[str, dict[str, str]]] = {
    "Mcp-Session-Id": {"Mcp-Session-Id": CHOSEN},
    "X-Session-ID": {"X-Session-ID": CHOSEN},
    "both": {"Mcp-Session-Id": CHOSEN, "X-Session-ID": CHOSEN},
    "Last-Event-ID": {"Last-Event-ID": CHOSEN},
    "Last-Event-ID with a place": {"Last-Event-ID": f"{CHOSEN}.0"},
    "Cookie": {"Cookie": f"session_id={CHOSEN}; Mcp-Session-Id={CHOSEN}"},
}
QUERIES: Final = ("session_id", "sse_session", "Mcp-Session-Id")
POSTS: Final[dict[str, Any]] = {
    "initialize": initialize(),
    "ping": request("ping"),
    "an id in the body": {**initialize(), "params": {**initialize()["params"], "sessionId": CHOSEN}},
}


async def no_session_has_it(door: Door, response: Response) -> None:
    """Neither now, nor does the answer give it out."""
    headers = {name: value for name, value in response.headers.items() if value == CHOSEN}
    assert headers == {}
    assert await get_store().aload(digest_of(CHOSEN)) is None
    status = (await McpClient(door, session_id=CHOSEN).post(request("ping"))).status
    assert status == 404


@on_mount
@pytest.mark.parametrize("body", POSTS)
@pytest.mark.parametrize("place", [*PLACES, *QUERIES])
async def test_no_post_makes_a_session_of_it(door: Door, place: str, body: str) -> None:
    client = McpClient(door, f"/mcp?{place}={CHOSEN}" if place in QUERIES else "/mcp")
    response = await client.post(POSTS[body], PLACES.get(place))
    await response.body()
    await no_session_has_it(door, response)


@on_mount
@pytest.mark.parametrize("place", [*PLACES, *QUERIES])
async def test_no_get_makes_a_session_of_it(door: Door, place: str) -> None:
    client = McpClient(door, f"/mcp?{place}={CHOSEN}" if place in QUERIES else "/mcp")
    response = await client.get(**PLACES.get(place, {}))
    if response.status == 200 and (event := await response.next_event()).event == "session":
        assert event.json()["session_id"] != CHOSEN
    await no_session_has_it(door, response)


@on_mount
async def test_no_delete_leaves_anything_of_it(door: Door) -> None:
    assert (await McpClient(door, session_id=CHOSEN).delete()).status == 404
    assert (await rows())["Session"] == 0


@on_mount
async def test_an_id_that_was_given_out_and_is_over_is_not_given_again(door: Door) -> None:
    """Whoever keeps an id of a session that has ended, or of before a rotation, has nothing in hand."""
    stream = await McpClient(door).get()
    old = (await stream.next_event()).json()["session_id"]
    new = str(await arotate_session(str(await arotate_session(old))))
    response = await McpClient(door).post(initialize(), {"X-Session-ID": old})
    assert response.status == 404
    await McpClient(door, more_headers={"X-Session-ID": new}).delete()
    for dead in (old, new):
        response = await McpClient(door).post(initialize(), {"Mcp-Session-Id": dead})
        assert response.status == 404 and "mcp-session-id" not in response.headers
