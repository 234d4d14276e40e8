"""What clients ask first, as they send it, and that it leads each to a session or to calls that are served.

Where an endpoint does not serve 2026-07-28, the probe must lead to a handshake.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.doors.client import BOTH, LATEST, McpClient, call, request, text_of
from tests.doors.conftest import OpenClient, every_door
from tests.doors.doors import Door, Response
from tests.doors.test_modern import MODERN, VERSION
from tests.process import rows

PREFIX: Final = "io.modelcontextprotocol/"
PYTHON_META: Final = (
    '{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    '"io.modelcontextprotocol/clientInfo":{"name":"mcp","version":"0.1.0"},'
    '"io.modelcontextprotocol/clientCapabilities":{}}'
)
GO_META: Final = (
    '{"io.modelcontextprotocol/clientCapabilities":{"roots":{"listChanged":true}},'
    '"io.modelcontextprotocol/clientInfo":{"name":"go","version":"v1.0.0"},'
    '"io.modelcontextprotocol/protocolVersion":"2026-07-28"}'
)
NAMED: Final = (
    '{"io.modelcontextprotocol/protocolVersion":"%s",'
    '"io.modelcontextprotocol/clientInfo":{"name":"%s","version":"1.0.0"},'
    '"io.modelcontextprotocol/clientCapabilities":{}}'
)


@dataclass(frozen=True)
class Opening:
    """How a client begins: its first request, and the one by which it falls back to the handshake.

    `accept` and `meta` are as it sends them. `handshake` is the header of its `initialize`, if it has one.
    """

    client: str
    id: int | str
    meta: str
    accept: str = BOTH
    version: str = MODERN
    handshake: str | None = None
    user_agent: str | None = None

    @property
    def probe(self) -> str:
        id, params = json.dumps(self.id), f'{{"_meta":{self.meta}}}'
        return f'{{"jsonrpc":"2.0","id":{id},"method":"server/discover","params":{params}}}'

    @property
    def next_id(self) -> int | str:
        return self.id + 1 if isinstance(self.id, int) else "5f7a1c1e-0f0f-4e51-9d0e-2f7a6f1f6f60"

    @property
    def initialize(self) -> str:
        info = json.loads(self.meta)[f"{PREFIX}clientInfo"]
        params = {"protocolVersion": LATEST, "capabilities": {}, "clientInfo": info}
        return json.dumps(request("initialize", params, id=self.next_id))

    def headers(self, method: str | None, version: str | None) -> dict[str, str | None]:
        return {
            "Content-Type": "application/json",
            "Accept": self.accept,
            "MCP-Protocol-Version": version,
            "Mcp-Method": method,
            "User-Agent": self.user_agent,
        }


RMCP_ACCEPT: Final = "text/event-stream, application/json"
# "mcp" and "fastmcp" are recorded: FastMCP's client is the SDK's. The bodies and headers of the others are
# written here after what is known of them. The sources of "typescript", "csharp", "go", "ruby", "rmcp" and
# "goose" were read. Of "claude-code" and "vscode" only recordings of others are known: that
# they ask for server/discover first and 2025-11-25 next.
OPENINGS: Final = [
    Opening("mcp", 1, PYTHON_META, user_agent="python-httpx2/2.16.2"),
    Opening("fastmcp", 1, PYTHON_META, user_agent="python-httpx2/2.16.2"),
    Opening("typescript", 0, NAMED % (MODERN, "typescript"), user_agent="node"),
    Opening("csharp", 1, NAMED % (MODERN, "csharp")),
    Opening("go", 1, GO_META, user_agent="Go-http-client/1.1"),
    Opening("ruby", "8f14e45f-ceea-467f-9c1c-3b8ea1d5b6c0", NAMED % (MODERN, "ruby")),
    Opening("rmcp", 0, NAMED % (MODERN, "rmcp"), accept=RMCP_ACCEPT, handshake=LATEST),
    Opening("goose", 0, NAMED % (MODERN, "goose"), accept=RMCP_ACCEPT, handshake=LATEST),
    Opening("claude-code", 0, NAMED % (MODERN, "claude-code"), handshake=LATEST),
    Opening("vscode", 1, NAMED % (MODERN, "vscode"), handshake=LATEST),
]
every_client = pytest.mark.parametrize("opening", OPENINGS, ids=lambda opening: opening.client)
WITHOUT: Final = "/handshake"


async def send(door: Door, path: str, body: str, headers: Mapping[str, str | None]) -> Response:
    return await McpClient(door, path=path).send("POST", body.encode(), headers)


@every_client
async def test_where_2026_07_28_is_left_out_a_probe_leads_to_a_session(door: Door, opening: Opening) -> None:
    headers = opening.headers("server/discover", MODERN)
    response = await send(door, WITHOUT, opening.probe, headers)
    message = await response.json()
    assert (response.status, message["id"], message["error"]["code"]) == (400, opening.id, -32601)
    assert response.headers["content-type"] == "application/json"
    assert "mcp-session-id" not in response.headers
    assert set((await rows()).values()) == {0}
    await shakes_hands(door, WITHOUT, opening)


@every_client
async def test_by_default_a_probe_leads_to_calls(door: Door, opening: Opening) -> None:
    response = await send(door, "/mcp", opening.probe, opening.headers("server/discover", MODERN))
    message = await response.json() if not response.is_stream else await response.next_message()
    assert (response.status, message["id"]) == (200, opening.id)
    assert MODERN in message["result"]["supportedVersions"]
    asked = call("echo", {"text": "ä"}, id=opening.next_id)
    asked["params"]["_meta"] = json.loads(opening.meta)
    headers = {**opening.headers("tools/call", MODERN), "Mcp-Name": "echo"}
    assert text_of(await (await send(door, "/mcp", json.dumps(asked), headers)).json()) == "ä"
    assert set((await rows()).values()) == {0}


@every_client
async def test_beside_2026_07_28_a_client_may_shake_hands(door: Door, opening: Opening) -> None:
    """As the clients do that do not probe, or are told to stay with the handshake."""
    await shakes_hands(door, "/mcp", opening)


async def shakes_hands(door: Door, path: str, opening: Opening) -> None:
    response = await send(door, path, opening.initialize, opening.headers(None, opening.handshake))
    message = await response.json()
    assert (response.status, message["result"]["protocolVersion"]) == (200, LATEST)
    client = McpClient(door, path=path, session_id=response.headers["mcp-session-id"])
    await client.notify("notifications/initialized")
    assert await client.call("echo", {"text": "ä"}) == "ä"


ODD: Final = {
    "no name": (NAMED % (MODERN, "x")).replace('"io.modelcontextprotocol/clientInfo":', '"x":'),
    "no method header": NAMED % (MODERN, "a draft"),
    "no version header": NAMED % (MODERN, "sparing"),
    "two opinions": NAMED % (MODERN, "both"),
}


@pytest.mark.parametrize("oddity", ODD)
async def test_where_2026_07_28_is_left_out_an_odd_probe_is_told_the_same(door: Door, oddity: str) -> None:
    opening = Opening("odd", 1, ODD[oddity])
    method = None if oddity == "no method header" else "server/discover"
    version = {"no version header": None, "two opinions": LATEST}.get(oddity, MODERN)
    response = await send(door, WITHOUT, opening.probe, opening.headers(method, version))
    assert (response.status, (await response.json())["error"]["code"]) == (400, -32601)


@every_door
@pytest.mark.parametrize("path", ["/mcp", WITHOUT])
async def test_a_probe_in_a_revision_with_a_handshake_leads_to_a_session(door: Door, path: str) -> None:
    """Goose prefers 2026-07-28, then asks in 2025-11-25, and gives up at any -32020."""
    again = Opening("goose", 1, NAMED % (LATEST, "goose"), accept=RMCP_ACCEPT, handshake=LATEST)
    response = await send(door, path, again.probe, again.headers("server/discover", LATEST))
    assert (response.status, (await response.json())["error"]["code"]) == (400, -32601)
    await shakes_hands(door, path, again)


@pytest.mark.parametrize(
    ("in_meta", "header", "code"),
    [
        (LATEST, LATEST, None),
        (LATEST, None, None),
        ("2025-06-18", LATEST, -32020),
        (MODERN, LATEST, -32020),
        (MODERN, None, -32020),
        ("1999-01-01", LATEST, -32020),
        (["a list"], LATEST, -32020),
        (LATEST, MODERN, -32022),
        (MODERN, MODERN, -32022),
        ("1999-01-01", "1999-01-01", -32022),
    ],
)
async def test_only_what_differs_is_a_mismatch(
    connect: OpenClient, in_meta: Any, header: str | None, code: int | None
) -> None:
    client = await connect(path=WITHOUT)
    message = request("ping", {"_meta": {VERSION: in_meta}}, id="m")
    response = await client.post(message, {"MCP-Protocol-Version": header})
    answer = await response.json()
    assert answer["id"] == "m"
    assert answer.get("error", {}).get("code") == code
    assert response.status == (200 if code is None else 400)
