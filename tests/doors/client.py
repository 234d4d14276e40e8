"""A client of the handshake revisions in few words, behind any door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.doors.doors import Door, Response, pairs

BOTH: Final = "application/json, text/event-stream"
LATEST: Final = "2025-11-25"
VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
EVERYTHING: Final[dict[str, Any]] = {"elicitation": {}, "sampling": {}, "roots": {"listChanged": True}}
JSON_POST: Final = {"Content-Type": "application/json", "Accept": BOTH}


def call(
    name: str, arguments: Mapping[str, Any] | None = None, *, id: Any = 1, token: Any = None
) -> dict[str, Any]:
    params: dict[str, Any] = {"name": name, "arguments": dict(arguments or {})}
    if token is not None:
        params["_meta"] = {"progressToken": token}
    return request("tools/call", params, id=id)


def request(method: str, params: Mapping[str, Any] | None = None, *, id: Any = 1) -> dict[str, Any]:
    return {**notification(method, params), "id": id}


def notification(method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    return message if params is None else {**message, "params": dict(params)}


def initialize(version: str = LATEST, capabilities: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return request(
        "initialize",
        {
            "protocolVersion": version,
            "capabilities": dict(capabilities or {}),
            "clientInfo": {"name": "doors", "version": "1"},
        },
        id=0,
    )


def text_of(message: Mapping[str, Any]) -> str:
    """What a tool returned."""
    assert not message["result"].get("isError"), message
    return str(message["result"]["content"][0]["text"])


@dataclass
class McpClient:
    """What a client remembers between its requests."""

    door: Door
    path: str = "/mcp"
    version: str = LATEST
    session_id: str | None = None
    more_headers: dict[str, str | None] = field(default_factory=dict)

    async def send(
        self, method: str, body: bytes = b"", headers: Mapping[str, str | None] | None = None
    ) -> Response:
        known = {
            "Mcp-Session-Id": self.session_id,
            "MCP-Protocol-Version": self.version if self.session_id else None,
        }
        return await self.door.send(
            method, self.path, pairs({**known, **self.more_headers, **(headers or {})}), body
        )

    async def post(self, message: Any, headers: Mapping[str, str | None] | None = None) -> Response:
        return await self.send("POST", json.dumps(message).encode(), {**JSON_POST, **(headers or {})})

    def posting(self, message: Any) -> asyncio.Task[Response]:
        """Post while the test goes on: the answer's head may be long in coming."""
        return asyncio.create_task(self.post(message))

    async def get(self, last_event_id: str | None = None, **headers: str | None) -> Response:
        told = {"Accept": "text/event-stream", "Last-Event-ID": last_event_id, **headers}
        return await self.send("GET", headers=told)

    async def delete(self) -> Response:
        return await self.send("DELETE")

    async def open(self, capabilities: Mapping[str, Any] | None = EVERYTHING) -> McpClient:
        """The handshake."""
        response = await self.post(initialize(self.version, capabilities))
        message = await response.json()
        assert response.status == 200, message
        self.session_id = response.headers["mcp-session-id"]
        self.version = message["result"]["protocolVersion"]
        await self.notify("notifications/initialized")
        return self

    async def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Post a request; its answer, however it comes."""
        response = await self.post(message)
        assert response.status == 200, (response.status, await response.body())
        if not response.is_stream:
            return dict(await response.json())
        return dict((await response.messages())[-1])

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Call a tool; the text of its result."""
        return text_of(await self.ask(call(name, arguments, **options)))

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        await self._accepted(notification(method, params))

    async def reply(self, request_id: Any, result: Mapping[str, Any]) -> None:
        await self._accepted({"jsonrpc": "2.0", "id": request_id, "result": dict(result)})

    async def reply_error(self, request_id: Any, code: int, message: str) -> None:
        error = {"code": code, "message": message}
        await self._accepted({"jsonrpc": "2.0", "id": request_id, "error": error})

    async def cancel(self, request_id: Any, reason: str | None = None) -> None:
        params = {"requestId": request_id} if reason is None else {"requestId": request_id, "reason": reason}
        await self.notify("notifications/cancelled", params)

    async def status(self, message: Any = None) -> int:
        """The status of a ping, or of another message."""
        response = await self.post(request("ping") if message is None else message)
        await response.body()
        return response.status

    async def _accepted(self, message: Any) -> None:
        response = await self.post(message)
        body = await response.body()
        assert (response.status, body) == (202, b""), (response.status, body)
