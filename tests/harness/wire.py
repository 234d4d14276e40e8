"""HTTP/1.1 over a bare socket: the exact bytes, and a connection that can be cut at any of them."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from tests.harness.sse import Event, EventParser

DEADLINE: Final = 30.0
"""Seconds any single read may take before the test fails."""
LATEST_HANDSHAKE: Final = "2025-11-25"
BOTH: Final = "application/json, text/event-stream"


T = TypeVar("T")


async def _in_time(reading: Awaitable[T]) -> T:
    async with asyncio.timeout(DEADLINE):
        return await reading


class ConnectionEnded(AssertionError):
    """Raised when the server ended the connection where more was due."""


class Headers(dict[str, str]):
    """Names in lower case; a header that comes twice is joined by a comma."""

    def add(self, line: bytes) -> None:
        name, _, value = line.decode("latin-1").partition(":")
        key = name.strip().lower()
        self[key] = f"{self[key]}, {value.strip()}" if key in self else value.strip()


@dataclass
class Response:
    """An answer whose head was read, and whose body is read as it comes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: Headers = field(default_factory=Headers)
    seen: list[Event] = field(default_factory=list)
    """Every event that was read, comments too."""
    finished: bool = False
    """Whether the body came to its proper end, rather than being cut."""
    _blocks: AsyncIterator[Event] | None = None

    async def read_head(self) -> None:
        status_line = await self._line()
        self.status = int(status_line.split()[1])
        while line := await self._line():
            self.headers.add(line)

    async def body(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def json(self) -> Any:
        assert self.headers.get("content-type", "").startswith("application/json"), (
            self.status,
            self.headers,
        )
        return json.loads(await self.body())

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body without its transfer coding."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self._line()).split(b";")[0], 16):
                yield await self._exactly(size)
                await self._line()
            await self._line()
        elif "content-length" in self.headers:
            yield await self._exactly(int(self.headers["content-length"]))
        else:
            while chunk := await _in_time(self.reader.read(65536)):
                yield chunk
        self.finished = True

    async def events(self) -> AsyncIterator[Event]:
        """The events without the comments, from where the reading stopped last time."""
        if self._blocks is None:
            self._blocks = self._parsed()
        async for event in self._blocks:
            if not event.is_comment:
                yield event

    async def next_event(self) -> Event:
        async for event in self.events():
            return event
        raise ConnectionEnded(f"The stream ended: {self.seen}")

    async def _parsed(self) -> AsyncIterator[Event]:
        if not self.headers.get("content-type", "").startswith("text/event-stream"):
            raise AssertionError((self.status, self.headers, await self.body()))
        parser = EventParser()
        async for chunk in self.chunks():
            for event in parser.feed(chunk):
                self.seen.append(event)
                yield event
        assert not parser.rest, f"The stream ended within an event: {parser.rest!r}"

    def narrow(self, size: int) -> None:
        """Take no more than about so many bytes that nobody has read yet."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def cut(self) -> None:
        """Break the connection as a dead network does: with a reset, whatever was on its way."""
        connection = self.writer.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):  # it was cut, or the server was quicker
            await self.writer.wait_closed()

    async def _line(self) -> bytes:
        line = await _in_time(self.reader.readline())
        if not line.endswith(b"\n"):
            raise ConnectionEnded(
                f"The connection ended after {line!r}; {self.status} {self.headers} {self.seen}"
            )
        return line.rstrip(b"\r\n")

    async def _exactly(self, size: int) -> bytes:
        try:
            return await _in_time(self.reader.readexactly(size))
        except asyncio.IncompleteReadError as error:
            raise ConnectionEnded(f"{len(error.partial)} of {size} bytes came: {error.partial!r}") from error


@asynccontextmanager
async def request(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> AsyncIterator[Response]:
    """Send one request on a connection of its own, and hand over the answer once its head is there."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    response = Response(reader, writer)
    try:
        writer.write(
            _encoded(
                method, parts.path + (f"?{parts.query}" if parts.query else ""), parts.netloc, headers, body
            )
        )
        await writer.drain()
        await response.read_head()
        yield response
    finally:
        await response.close()


def _encoded(
    method: str, target: str, host: str, headers: Mapping[str, str] | None, body: bytes | None
) -> bytes:
    lines = {"Host": host, "Connection": "close", **(headers or {})}
    if body is not None:
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b"")


def without_none(headers: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if value is not None}


@dataclass
class RawSession:
    """A client of the handshake revisions in as few words as the protocol allows."""

    url: str
    session_id: str | None = None
    version: str = LATEST_HANDSHAKE
    next_id: int = 0

    @classmethod
    async def open(
        cls,
        url: str,
        version: str = LATEST_HANDSHAKE,
        capabilities: Mapping[str, Any] | None = None,
        client: Mapping[str, Any] | None = None,
        **headers: str | None,
    ) -> RawSession:
        session = cls(url, version=version)
        params = {
            "protocolVersion": version,
            "capabilities": dict(capabilities or {}),
            "clientInfo": dict(client or {"name": "raw", "version": "1"}),
        }
        async with session.post(session.message("initialize", params), **headers) as response:
            assert response.status == 200, (response.status, await response.body())
            session.session_id = response.headers["mcp-session-id"]
            session.version = (await answer(response))["result"]["protocolVersion"]
        await session.notify("notifications/initialized")
        return session

    def message(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self.next_id += 1
        return {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": dict(params or {})}

    def tool_call(self, name: str, arguments: Mapping[str, Any], token: str | None = None) -> dict[str, Any]:
        params: dict[str, Any] = {"name": name, "arguments": dict(arguments)}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        return self.message("tools/call", params)

    def headers(self, **more: str | None) -> dict[str, str]:
        known = {
            "Mcp-Session-Id": self.session_id,
            "MCP-Protocol-Version": self.version if self.session_id else None,
        }
        return without_none({**known, **{name.replace("_", "-"): value for name, value in more.items()}})

    @asynccontextmanager
    async def post(self, message: Any, **headers: str | None) -> AsyncIterator[Response]:
        told = self.headers(**{"Content_Type": "application/json", "Accept": BOTH, **headers})
        async with request("POST", self.url, told, json.dumps(message).encode()) as response:
            yield response

    @asynccontextmanager
    async def get(self, last_event_id: str | None = None, **headers: str | None) -> AsyncIterator[Response]:
        told = self.headers(**{"Accept": "text/event-stream", "Last_Event_ID": last_event_id, **headers})
        async with request("GET", self.url, told) as response:
            yield response

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call a tool and return the JSON-RPC response, however it came."""
        async with self.post(self.tool_call(name, arguments or {})) as response:
            assert response.status == 200, (response.status, await response.body())
            return await answer(response)

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": dict(params or {})}
        await self._accepted(message)

    async def reply(self, request_id: Any, result: Mapping[str, Any]) -> None:
        await self._accepted({"jsonrpc": "2.0", "id": request_id, "result": dict(result)})

    async def delete(self) -> int:
        async with request("DELETE", self.url, self.headers()) as response:
            await response.body()
            return response.status

    async def status_of_ping(self) -> int:
        async with self.post(self.message("ping")) as response:
            await response.body()
            return response.status

    async def _accepted(self, message: Any) -> None:
        async with self.post(message) as response:
            body = await response.body()
            assert (response.status, body) == (202, b""), (response.status, body)


async def answer(response: Response) -> dict[str, Any]:
    """The JSON-RPC response in a reply that is JSON or a stream."""
    if response.headers.get("content-type", "").startswith("application/json"):
        found: dict[str, Any] = await response.json()
        return found
    async for event in response.events():
        if event.is_message and is_response(message := event.json()):
            return dict(message)
    raise ConnectionEnded(f"The stream ended without a response: {response.seen}")


def is_response(message: Mapping[str, Any]) -> bool:
    return "method" not in message and ("result" in message or "error" in message)
