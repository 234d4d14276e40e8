"""A client of 2026-07-28 in few words: each request says everything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from tests.harness.wire import BOTH, Response, answer, request

MODERN: Final = "2026-07-28"
META: Final = "io.modelcontextprotocol"


def post(
    url: str,
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    id: int | str = 1,
    capabilities: Mapping[str, Any] | None = None,
    token: str | None = None,
) -> AbstractAsyncContextManager[Response]:
    """Send one request."""
    given = dict(params or {})
    envelope: dict[str, Any] = {
        f"{META}/protocolVersion": MODERN,
        f"{META}/clientCapabilities": dict(capabilities or {}),
        f"{META}/clientInfo": {"name": "modern", "version": "1"},
    }
    if token is not None:
        envelope["progressToken"] = token
    body = {"jsonrpc": "2.0", "id": id, "method": method, "params": {**given, "_meta": envelope}}
    headers = {
        "Content-Type": "application/json",
        "Accept": BOTH,
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": method,
    }
    if (name := given.get("name") or given.get("uri")) is not None:
        headers["Mcp-Name"] = name
    return request("POST", url, headers, json.dumps(body).encode())


def listen(url: str, **notifications: Any) -> AbstractAsyncContextManager[Response]:
    """Listen for changes. The first event says what the server agreed to tell."""
    return post(url, "subscriptions/listen", {"notifications": notifications}, id="listen")


async def result(
    url: str, method: str, params: Mapping[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """Send one request; what it results in."""
    async with post(url, method, params, **options) as response:
        message = await answer(response)
    assert "result" in message, message
    return dict(message["result"])
