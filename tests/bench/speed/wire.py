"""HTTP/1.1 for clients that must cost little: one connection, one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httptools

PATIENCE: Final = 60.0
"""Seconds within which any answer must be there: one that takes longer is no answer."""


class Wrong(AssertionError):
    """Raised for an answer that is not the one that was due."""


@dataclass(slots=True)
class Response:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Connection(asyncio.Protocol):
    """Sends a request, and has its answer; `listener` is given the body's parts as they come."""

    def __init__(self) -> None:
        self.listener: Callable[[bytes], None] | None = None
        self.on_head: Callable[[], None] | None = None
        self.is_open = False
        self._transport: Any = None
        self._parser = httptools.HttpResponseParser(self)
        self._response = Response()
        self._waiting: asyncio.Future[Response] | None = None

    @classmethod
    async def to(cls, url: str) -> Connection:
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, parts.hostname, parts.port)
        return connection

    @property
    def status(self) -> int:
        """Of the answer that comes, once its head is there."""
        return self._response.status

    def begin(self, request: bytes) -> asyncio.Future[Response]:
        """Send a request; the future is done with the answer's end."""
        assert self._transport is not None and self._waiting is None
        self._waiting = asyncio.get_running_loop().create_future()
        self._response = Response()
        self._transport.write(request)
        return self._waiting

    async def ask(self, request: bytes) -> Response:
        async with asyncio.timeout(PATIENCE):
            return await self.begin(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = transport, True

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Wrong(f"the connection ended: {error}"))

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._response.status = self._parser.get_status_code()
        if self.on_head is not None:
            self.on_head()

    def on_body(self, part: bytes) -> None:
        if self.listener is None:
            self._response.body += part
        else:
            self.listener(part)

    def on_message_complete(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(self._response)
