"""HTTP to an ASGI application in the same process, with bodies that are read while they are written.

httpx's own ASGITransport hands a body on when it is complete: a stream would never be read, and a tool that
asks its client something would wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any, Final

import httpx2

from mcp_sessions.routing import Application

CLIENT: Final = ("127.0.0.1", 50000)
CLOSE_SECONDS: Final = 10.0
"""How long closing waits for the application to notice that its clients have left."""


class StreamingTransport(httpx2.AsyncBaseTransport):
    """For `httpx2.AsyncClient(transport=…)`. An exception of the application comes out of the request."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._exchanges: dict[asyncio.Task[None], _Exchange] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = _Exchange(await request.aread())
        task = asyncio.create_task(exchange.run(self._application, _scope(request)))
        self._exchanges[task] = exchange
        task.add_done_callback(self._exchanges.pop)
        try:
            status, headers = await exchange.head
        except asyncio.CancelledError:
            exchange.leave()
            raise
        return httpx2.Response(status, headers=headers, stream=exchange)

    def lose_connections(self) -> None:
        """Break every connection, as when the network is gone: readers get a ReadError."""
        for exchange in list(self._exchanges.values()):
            exchange.leave(httpx2.ReadError("The test broke the connection."))

    async def aclose(self) -> None:
        for exchange in list(self._exchanges.values()):
            exchange.leave()
        if self._exchanges:
            await asyncio.wait(set(self._exchanges), timeout=CLOSE_SECONDS)


class _Exchange(httpx2.AsyncByteStream):
    """A server's side of one request: it hands the body in, and its client reads the answer from it."""

    def __init__(self, body: bytes) -> None:
        self.head: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.Future()
        self._body: bytes | None = body
        self._chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._left = asyncio.Event()

    async def run(self, application: Application, scope: dict[str, Any]) -> None:
        try:
            await application(scope, self._receive, self._send)
            self._fail(RuntimeError("The application returned without an answer."))
        except Exception as error:
            self._fail(error)
        finally:
            self._chunks.put_nowait(None)

    def leave(self, error: Exception | None = None) -> None:
        """The application sees its client leave; the client reads the error, or the end."""
        self._left.set()
        self._chunks.put_nowait(error)

    def _fail(self, error: Exception) -> None:
        if not self.head.done():
            self.head.set_exception(error)
        elif not isinstance(error, RuntimeError):
            self._chunks.put_nowait(error)

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if self._left.is_set():
            return  # as uvicorn does: what is sent to a client that has left goes nowhere
        if message["type"] == "http.response.start":
            self.head.set_result((message["status"], list(message.get("headers", ()))))
            return
        if message.get("body"):
            self._chunks.put_nowait(message["body"])
        if not message.get("more_body"):
            self._chunks.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def aclose(self) -> None:
        self.leave()


def _scope(request: httpx2.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "root_path": "",
        "query_string": request.url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": CLIENT,
        "server": (request.url.host, request.url.port or 80),
    }
