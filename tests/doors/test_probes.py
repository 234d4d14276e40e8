"""What clients ask first, in their own shapes, and that it leads each to a session (transport.md 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.doors.client import LATEST, McpClient, initialize, request
from tests.doors.conftest import OpenClient, every_door
from tests.doors.doors import Door
from tests.doors.test_modern import MODERN, VERSION
from tests.process import rows

PREFIX: Final = "io.modelcontextprotocol/"


@dataclass(frozen=True)
class Probe:
    """A `server/discover` of a client: what it has in `_meta` and in its headers, under which id."""

    client: str
    id: int | str
    version: str = MODERN
    header: str | None = MODERN
    has_client_info: bool = True
    has_method_header: bool = True

    def message(self) -> dict[str, Any]:
        meta: dict[str, Any] = {VERSION: self.version, f"{PREFIX}clientCapabilities": {}}
        if self.has_client_info:
            meta[f"{PREFIX}clientInfo"] = {"name": self.client, "version": "1"}
        return request("server/discover", {"_meta": meta}, id=self.id)

    def headers(self) -> Mapping[str, str | None]:
        method = "server/discover" if self.has_method_header else None
        return {"MCP-Protocol-Version": self.header, "Mcp-Method": method}


PROBES: Final = [
    Probe("mcp", 1),
    Probe("fastmcp", 0),
    Probe("typescript", 0),
    Probe("csharp", 1),
    Probe("go", 1),
    Probe("ruby", "8f14e45f-ceea-467f-9c1c-3b8ea1d5b6c0"),
    Probe("rmcp", 0),
    Probe("goose", 0),
    Probe("goose, again", 1, version=LATEST, header=LATEST),
    Probe("claude-code", 0),
    Probe("vscode", 1),
    Probe("one without a name", 1, has_client_info=False),
    Probe("one of a draft", 1, has_method_header=False),
    Probe("one that is sparing of headers", 1, header=None, has_method_header=False),
    Probe("one with two opinions", 1, header=LATEST),
]


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.client)
async def test_a_probe_leads_to_a_session(door: Door, probe: Probe) -> None:
    client = McpClient(door)
    response = await client.post(probe.message(), probe.headers())
    message = await response.json()
    assert (response.status, message["id"], message["error"]["code"]) == (400, probe.id, -32601)
    assert response.headers["content-type"] == "application/json"
    assert "mcp-session-id" not in response.headers
    assert set((await rows()).values()) == {0}
    # What a client does next: rmcp and Goose name the revision in a header from the start.
    client.more_headers = {"MCP-Protocol-Version": LATEST}
    assert await (await client.open()).status() == 200


@every_door
async def test_goose_asks_twice_and_opens_a_session(door: Door) -> None:
    """It prefers 2026-07-28, then 2025-11-25, and gives up at any -32020."""
    client = McpClient(door)
    for version in (MODERN, LATEST):
        probe = Probe("goose", 0, version=version, header=version)
        answer = await (await client.post(probe.message(), probe.headers())).json()
        assert answer["error"]["code"] == -32601
    message = initialize()
    message["params"]["_meta"] = {VERSION: LATEST}
    response = await client.post(message, {"MCP-Protocol-Version": LATEST})
    assert response.status == 200 and "mcp-session-id" in response.headers


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
    client = await connect()
    message = request("ping", {"_meta": {VERSION: in_meta}}, id="m")
    response = await client.post(message, {"MCP-Protocol-Version": header})
    answer = await response.json()
    assert answer["id"] == "m"
    assert answer.get("error", {}).get("code") == code
    assert response.status == (200 if code is None else 400)


async def test_where_it_is_served_a_probe_is_answered(door: Door) -> None:
    probe = Probe("mcp", 1)
    response = await McpClient(door, path="/mcp").post(probe.message(), probe.headers())
    assert MODERN in (await response.json())["result"]["supportedVersions"]
