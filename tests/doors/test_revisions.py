"""REVISIONS: which revisions an endpoint serves, and what becomes of clients of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from mcp_sessions.conf import HANDSHAKE_REVISIONS, MODERN_REVISIONS
from tests.doors.client import LATEST, VERSIONS, McpClient, call, initialize, request, text_of
from tests.doors.conftest import OpenClient
from tests.doors.doors import Door
from tests.doors.test_modern import MODERN, NO_ROWS, modern, post
from tests.process import only_session, rows

Serve = Callable[..., Awaitable[None]]

SERVED: Final = ("2025-03-26", "2025-06-18")
"""In the middle: some clients ask for older ones, some for newer ones."""
NOT_SERVED: Final = -32022


@pytest.fixture
def serve(settings: Any, process: None) -> Serve:
    async def serve(*revisions: str) -> None:
        # The stores are made again, and database connections are closed, which Django permits no event loop.
        chosen = {**settings.MCP_SESSIONS, "REVISIONS": list(revisions)}
        await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", chosen)

    return serve


@pytest.fixture
async def without_handshake(serve: Serve) -> None:
    await serve(MODERN)


@pytest.fixture
async def in_the_middle(serve: Serve) -> None:
    await serve(*reversed(SERVED))


def test_the_revisions_are_those_of_the_sdk() -> None:
    assert (HANDSHAKE_REVISIONS, MODERN_REVISIONS) == (HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS)


@pytest.mark.parametrize("version", [*VERSIONS, "2026-07-28", "1999-01-01"])
async def test_the_handshake_negotiates_what_is_listed(
    in_the_middle: None, connect: OpenClient, version: str
) -> None:
    client = await connect(version=version)
    assert client.version == (version if version in SERVED else SERVED[-1])
    assert await client.status() == 200
    assert (await only_session()).metadata["protocol_version"] == client.version


async def test_a_client_may_name_another_revision_while_it_negotiates(
    in_the_middle: None, door: Door
) -> None:
    client = McpClient(door, more_headers={"MCP-Protocol-Version": LATEST})
    response = await client.post(initialize())
    assert (await response.json())["result"]["protocolVersion"] == SERVED[-1]


async def test_a_revision_that_is_not_listed_is_refused_in_a_session(
    in_the_middle: None, connect: OpenClient
) -> None:
    client = await connect(version=SERVED[0])
    for method in ("POST", "GET", "DELETE"):
        headers = {"MCP-Protocol-Version": LATEST, "Accept": "text/event-stream"}
        if method == "POST":
            response = await client.post(request("ping"), {"MCP-Protocol-Version": LATEST})
        else:
            response = await client.send(method, headers=headers)
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (400, NOT_SERVED), method
        assert error["data"] == {"supported": list(SERVED), "requested": LATEST}
    # What is listed may differ from what was negotiated.
    assert await client.status() == 200
    assert (await client.post(request("ping"), {"MCP-Protocol-Version": SERVED[1]})).status == 200


async def test_a_session_keeps_its_revision(serve: Serve, connect: OpenClient) -> None:
    client = await connect(version=LATEST)
    await serve(*SERVED)
    assert await client.status() == 200
    await serve(MODERN)
    assert await client.status() == 200
    stream = await client.get()
    assert stream.status == 200
    assert (await client.delete()).status == 204


async def test_clients_of_a_modern_revision_learn_what_is_listed(in_the_middle: None, door: Door) -> None:
    response = await post(door, modern(request("tools/list", id="d")))
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (400, NOT_SERVED)
    assert error["data"] == {"supported": list(SERVED), "requested": MODERN}


async def test_without_a_handshake_initialize_is_answered_with_what_is_served(
    without_handshake: None, door: Door
) -> None:
    for version in VERSIONS:
        response = await McpClient(door).post(initialize(version))
        message = await response.json()
        assert (response.status, message["id"], message["error"]["code"]) == (400, 0, NOT_SERVED)
        assert message["error"]["data"] == {"supported": [MODERN], "requested": version}
    assert await rows() == NO_ROWS


async def test_without_a_handshake_other_requests_are_told_the_same(
    without_handshake: None, door: Door
) -> None:
    client = McpClient(door)
    for headers, requested in (({"MCP-Protocol-Version": LATEST}, LATEST), ({}, "2025-03-26")):
        error = (await (await client.post(request("tools/list"), headers)).json())["error"]
        assert (error["code"], error["data"]["requested"]) == (NOT_SERVED, requested)
    # A client with a session that has ended opens another, and learns then.
    assert (await client.post(request("ping"), {"Mcp-Session-Id": "A" * 32})).status == 404


async def test_without_a_handshake_no_get_opens_a_session(without_handshake: None, door: Door) -> None:
    response = await McpClient(door).get()
    assert (response.status, response.headers["allow"]) == (405, "POST")
    assert (await response.json())["error"]["data"]["supported"] == [MODERN]
    assert await rows() == NO_ROWS


async def test_without_a_handshake_the_modern_revision_is_served(without_handshake: None, door: Door) -> None:
    assert text_of(await (await post(door, modern(call("echo", {"text": "ä"})))).json()) == "ä"


@pytest.mark.parametrize(
    ("served", "asked", "spoken"),
    [
        (SERVED, "2025-03-26", "2025-03-26"),
        (SERVED, None, "2025-06-18"),
        (SERVED, LATEST, "2025-06-18"),
        (("2024-11-05", "2025-03-26"), None, "2025-03-26"),
        ((LATEST,), None, LATEST),
    ],
)
async def test_what_a_session_speaks_that_a_get_opens(
    serve: Serve, door: Door, served: tuple[str, ...], asked: str | None, spoken: str
) -> None:
    await serve(*served)
    stream = await McpClient(door).get(**({"MCP-Protocol-Version": asked} if asked else {}))
    session_id = (await stream.next_event()).json()["session_id"]
    assert (await only_session()).metadata["protocol_version"] == spoken
    # Usable at once, as ever.
    client = McpClient(door, more_headers={"X-Session-ID": session_id})
    assert await client.status(request("tools/list")) == 200
