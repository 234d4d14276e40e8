"""What a client can make us keep: each bound is hit, refused in words, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_sessions.protocol.bounds import REASON
from tests.doors.client import McpClient, call, initialize, request
from tests.doors.conftest import OpenClient, on_mount
from tests.doors.doors import Door
from tests.process import rows
from tests.servers import gates

Settings = Any

INVALID, PARAMS = -32600, -32602


def bound(settings: Settings, **options: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **options}


@on_mount
async def test_who_says_too_much_of_itself_opens_no_session(door: Door, settings: Settings) -> None:
    bound(settings, MAX_CLIENT_BYTES=1000)
    hello = initialize()
    hello["params"]["clientInfo"]["title"] = "x" * 1000
    response = await McpClient(door).post(hello)
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (200, PARAMS)
    assert error["data"] == {"reason": "client_too_large", "limit": 1000}
    assert "mcp-session-id" not in response.headers
    assert (await rows())["Session"] == 0
    await McpClient(door).open()


@on_mount
async def test_a_session_has_so_many_subscriptions(connect: OpenClient, settings: Settings) -> None:
    bound(settings, MAX_SUBSCRIPTIONS=2)
    client = await connect()
    asked = [("a", None), ("b", None), ("c", PARAMS), ("a", None)]
    for uri, code in asked:
        answer = await client.ask(request("resources/subscribe", {"uri": f"file:///{uri}"}))
        assert answer.get("error", {}).get("code") == code
        if code is not None:
            assert answer["error"]["data"] == {"reason": "subscription_limit", "limit": 2}
    assert (await rows())["Subscription"] == 2
    await client.ask(request("resources/unsubscribe", {"uri": "file:///a"}))
    assert "result" in await client.ask(request("resources/subscribe", {"uri": "file:///c"}))


@on_mount
async def test_a_long_uri_is_not_subscribed_to(connect: OpenClient, settings: Settings) -> None:
    bound(settings, MAX_URI_LENGTH=20)
    client = await connect()
    answer = await client.ask(request("resources/subscribe", {"uri": "file:///" + "x" * 13}))
    assert answer["error"]["code"] == PARAMS
    assert answer["error"]["data"] == {"reason": "uri_length", "limit": 20}
    assert (await rows())["Subscription"] == 0
    assert "result" in await client.ask(request("resources/subscribe", {"uri": "file:///" + "x" * 12}))


@on_mount
@pytest.mark.parametrize(
    "message",
    [
        request("ping", id="x" * 65),
        request("ping", id=10**64),
        request("x" * 65),
        {"jsonrpc": "2.0", "method": "x" * 65},
        call("echo", {"text": "a"}, token="x" * 65),
        call("echo", {"text": "a"}, token=10**64),
    ],
)
async def test_long_names_are_refused(connect: OpenClient, settings: Settings, message: Any) -> None:
    bound(settings, MAX_ID_LENGTH=64)
    client = await connect()
    before = await rows()
    response = await client.post(message)
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (400, INVALID)
    assert "at most 64 characters" in error["message"]
    assert await rows() == before


@on_mount
async def test_as_long_as_may_be(connect: OpenClient, settings: Settings) -> None:
    bound(settings, MAX_ID_LENGTH=64)
    client = await connect()
    assert await client.call("echo", {"text": "a"}, id="x" * 64, token="y" * 64) == "a"


@on_mount
async def test_the_reason_of_a_cancellation_is_cut(connect: OpenClient, gate: str) -> None:
    client = await connect()
    posted = client.posting(call("slow", {"gate": gate}))
    await gates[gate].reached()
    await client.cancel(1, "x" * 100_000)
    message = (await (await posted).json())["error"]["message"]
    assert message.count("x") == REASON
