"""Revision 2026-07-28, served by the SDK: one self-contained request, no session.

The SDK's entry is an ASGI application, and what arrives here is an exchange, so this gives it
an ASGI scope made of the exchange. Closing the reply's stream is the cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

from mcp_sessions.exchange import Answer, EventStream, Exchange, Reply
from mcp_sessions.protocol.call import CREDENTIALS
from mcp_sessions.protocol.dispatch import surroundings
from mcp_sessions.protocol.servers import PreparedServer
from mcp_sessions.protocol.threads import own_thread
from mcp_sessions.runtime import current

DROPPED = CREDENTIALS | {"origin"}
"""Headers the SDK does not get: it has no sessions here, and hosts and origins were checked before."""


async def serve(exchange: Exchange, server: PreparedServer) -> Reply:
    """Have the SDK answer the request."""
    application = _Application(exchange, server)
    task = current().spawn(application.run(), "modern")
    try:
        return await application.reply(task)
    except asyncio.CancelledError:
        task.cancel()
        raise


class _Application:
    """Runs the SDK's ASGI application and turns what it sends into a reply."""

    def __init__(self, exchange: Exchange, server: PreparedServer) -> None:
        self._exchange = exchange
        self._server = server
        self._sent: asyncio.Queue[MutableMapping[str, Any] | None] = asyncio.Queue(maxsize=100)
        self._closed = asyncio.Event()
        self._has_read = False

    async def run(self) -> None:
        try:
            with surroundings(None):
                async with own_thread():
                    await self._server.modern.handle_request(self._scope(), self._receive, self._send)
        finally:
            await self._sent.put(None)

    async def reply(self, task: asyncio.Task[None]) -> Reply:
        start = await self._sent.get()
        if start is None:
            await task
            raise RuntimeError("the SDK ended without an answer")
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"])
        body = await self._sent.get() or {}
        if not body.get("more_body"):
            return Answer(start["status"], headers, body.get("body", b""))
        return EventStream(self._chunks(body, task), headers, start["status"])

    async def _chunks(
        self, first: MutableMapping[str, Any], task: asyncio.Task[None]
    ) -> AsyncGenerator[bytes, None]:
        message: MutableMapping[str, Any] | None = first
        try:
            while message is not None:
                yield message.get("body", b"")
                if not message.get("more_body"):
                    return
                message = await self._sent.get()
        finally:
            self._closed.set()
            task.cancel()

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        await self._sent.put(message)

    async def _receive(self) -> dict[str, Any]:
        if not self._has_read:
            self._has_read = True
            return {"type": "http.request", "body": self._exchange.body, "more_body": False}
        await self._closed.wait()
        return {"type": "http.disconnect"}

    def _scope(self) -> dict[str, Any]:
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in self._exchange.headers.items()
            if name not in DROPPED
        ]
        return {
            "type": "http",
            "http_version": "1.1",
            "method": self._exchange.method,
            "scheme": self._exchange.scheme,
            "path": self._exchange.path,
            "query_string": b"",
            "headers": headers,
            "client": (self._exchange.address, 0),
        }
