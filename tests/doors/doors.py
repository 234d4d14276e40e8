"""The ways into the app, all asked in the same words.

view        Django's AsyncClient against mcp_sessions.urls
django      the same URLs behind Django's own ASGI handler, where a client can leave
view-wsgi   Django's Client, as under WSGI: no streams
mount       mcp_sessions.routing.mount
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponseBase
from django.test import AsyncClient, Client

from mcp_sessions.routing import Application, mount
from tests.harness.sse import Event, EventParser
from tests.servers import DEADLINE
from tests.settings import MCP_SESSIONS as USUAL

Pairs = Sequence[tuple[str, str]]
HOST: Final = "testserver"


class StreamEnded(AssertionError):
    """Raised when a stream ended where more was due."""


@dataclass
class Response:
    """An answer whose body is read as it comes."""

    status: int
    headers: dict[str, str]
    _chunks: asyncio.Queue[bytes | None]
    _pump: asyncio.Task[None]
    _leave: asyncio.Event
    seen: list[Event] = field(default_factory=list)
    _parser: EventParser = field(default_factory=EventParser)
    _parsed: list[Event] = field(default_factory=list)
    _has_ended: bool = False

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def body(self) -> bytes:
        """All that is left, to the end, which comes by itself."""
        parts = []
        # One deadline for all of it: keep-alives must not hold off a test that hangs.
        async with asyncio.timeout(DEADLINE):
            while (chunk := await self._next_chunk()) is not None:
                parts.append(chunk)
        return b"".join(parts)

    async def json(self) -> Any:
        body = await self.body()
        assert self.headers.get("content-type") == "application/json", (self.status, self.headers, body)
        return json.loads(body, parse_constant=_refuse)

    async def next_event(self) -> Event:
        """The next event that is more than a comment."""
        async with asyncio.timeout(DEADLINE):
            while (event := await self._next_block()).is_comment:
                pass
            return event

    async def events(self) -> list[Event]:
        """All events that are left, to the end of the stream."""
        found: list[Event] = []
        try:
            while True:
                found.append(await self.next_event())
        except StreamEnded:
            assert not self._parser.rest, self._parser.rest
            return found

    async def next_message(self) -> dict[str, Any]:
        while not (event := await self.next_event()).is_message:
            pass
        return dict(event.json())

    async def messages(self) -> list[Any]:
        return [event.json() for event in await self.events() if event.is_message]

    async def disconnect(self) -> None:
        """Leave as a client does whose network is gone; returns when the server side is done with it."""
        self._leave.set()
        await asyncio.wait_for(asyncio.wait({self._pump}), DEADLINE)
        if not self._pump.cancelled() and (error := self._pump.exception()) is not None:
            raise error

    async def _next_block(self) -> Event:
        while not self._parsed:
            chunk = await self._next_chunk()
            if chunk is None:
                raise StreamEnded(f"The stream ended after {self.seen}")
            assert self.is_stream, (self.status, self.headers, chunk)
            self._parsed.extend(self._parser.feed(chunk))
        self.seen.append(self._parsed.pop(0))
        return self.seen[-1]

    async def _next_chunk(self) -> bytes | None:
        if self._has_ended:
            return None
        chunk = await self._chunks.get()
        if chunk is None:
            self._has_ended = True
            await self.disconnect()
        return chunk


class Door(Protocol):
    """One way in. `can_stream`: a POST may be answered by SSE; `has_get`: GET streams are served."""

    can_stream: bool
    has_get: bool

    async def send(self, method: str, target: str, headers: Pairs, body: bytes) -> Response:
        """Send one request; the answer is there when its head is."""

    async def close(self) -> None:
        """Leave whatever is still open."""


class AsgiDoor:
    """An ASGI application, driven as a server does it."""

    can_stream = True
    scheme = "http"
    root_path = ""

    def __init__(self, application: Application, *, has_get: bool) -> None:
        self.application = application
        self.has_get = has_get
        self.scopes: list[dict[str, Any]] = []
        """Of each request the server's own, which it logs."""
        self._connections: dict[asyncio.Task[None], _Connection] = {}

    async def send(self, method: str, target: str, headers: Pairs, body: bytes) -> Response:
        response = await self.start(method, target, headers, [body])
        return await response

    async def start(
        self,
        method: str,
        target: str,
        headers: Pairs,
        parts: Sequence[bytes],
        *,
        is_cut: bool = False,
        takes_nothing: bool = False,
    ) -> asyncio.Task[Response]:
        """Send a request with its body in parts; the task is done when the answer's head is there.

        Of a body that is cut, more was to come; a client that takes nothing leaves at the head.
        """
        connection = _Connection(parts, is_cut, takes_nothing)
        scope = {**_scope(method, target, headers), "scheme": self.scheme, "root_path": self.root_path}
        self.scopes.append(scope)
        pump = asyncio.create_task(connection.run(self.application, scope))
        self._connections[pump] = connection
        return asyncio.create_task(self._answer(connection, pump))

    async def _answer(self, connection: _Connection, pump: asyncio.Task[None]) -> Response:
        start = await asyncio.wait_for(connection.head, DEADLINE)
        names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        assert len(names) == len(start["headers"]), start["headers"]
        return Response(start["status"], names, connection.chunks, pump, connection.left)

    def leave_all(self) -> None:
        """Every client leaves, also those whose answer has not begun."""
        for connection in self._connections.values():
            connection.left.set()

    async def finished(self) -> None:
        """Wait until the application is done with every request."""
        await asyncio.wait_for(asyncio.gather(*self._connections), DEADLINE)

    async def close(self) -> None:
        self.leave_all()
        await self.finished()


class _Connection:
    """A server's side of one request: it hands the body in and takes the answer out."""

    def __init__(self, parts: Sequence[bytes], is_cut: bool, takes_nothing: bool) -> None:
        self.head: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.left = asyncio.Event()
        self._parts = list(parts)
        self._is_cut = is_cut
        self._takes_nothing = takes_nothing

    async def run(self, application: Application, scope: dict[str, Any]) -> None:
        try:
            await application(scope, self._receive, self._send)
            if not self.head.done() and not self.left.is_set():
                raise AssertionError("the application returned without an answer")
        except BaseException as error:
            if not self.head.done():
                self.head.set_exception(error)
                return
            raise
        finally:
            self.chunks.put_nowait(None)

    async def _receive(self) -> dict[str, Any]:
        if self._parts:
            part = self._parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": self._is_cut or bool(self._parts)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.left.is_set():
            return  # as uvicorn does: what is sent to a client that has left goes nowhere
        if message["type"] == "http.response.start":
            self.head.set_result(message)
            if self._takes_nothing:
                self.left.set()
                await asyncio.Event().wait()
            return
        assert self.head.done(), "a body before its head"
        if message.get("body"):
            self.chunks.put_nowait(message["body"])
        if not message.get("more_body"):
            self.chunks.put_nowait(None)
            # A server that is done with its answer has nothing more to hand in.
            self.left.set()


def _scope(method: str, target: str, headers: Pairs) -> dict[str, Any]:
    parts = urlsplit(target)
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if not any(name == b"host" for name, _ in encoded):
        encoded.insert(0, (b"host", HOST.encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(parts.path).decode("utf-8", "replace"),
        "raw_path": parts.path.encode("latin-1"),
        "root_path": "",
        "query_string": parts.query.encode("latin-1"),
        "headers": encoded,
        "client": ("192.0.2.1", 50000),
        "server": (HOST, 80),
    }


class ViewDoor:
    """Django's AsyncClient. It knows no clients that leave: whoever reads its stream stops reading."""

    can_stream = True
    has_get = False

    def __init__(self) -> None:
        self._open: list[Response] = []

    async def send(self, method: str, target: str, headers: Pairs, body: bytes) -> Response:
        client = AsyncClient(enforce_csrf_checks=True)
        # It sends a Cookie header of its own, and Django joins two of them by a comma.
        client.cookies.load(dict(headers).get("Cookie", ""))
        head, options = _options(method, target, [each for each in headers if each[0] != "Cookie"], body)
        answer = await asyncio.wait_for(client.generic(*head, **options), DEADLINE)
        response = _read(answer)
        self._open.append(response)
        return response

    async def close(self) -> None:
        for response in self._open:
            await response.disconnect()


class WsgiDoor:
    """Django's Client, whose every request is a thread of its own, as under a WSGI server."""

    can_stream = False
    has_get = False

    async def send(self, method: str, target: str, headers: Pairs, body: bytes) -> Response:
        client = Client(enforce_csrf_checks=True)
        head, options = _options(method, target, headers, body)
        answer = await asyncio.wait_for(asyncio.to_thread(client.generic, *head, **options), DEADLINE)
        assert not answer.streaming
        return _read(answer)

    async def close(self) -> None:
        """Every request has come to its end."""


def _options(
    method: str, target: str, headers: Pairs, body: bytes
) -> tuple[tuple[str, str, bytes], dict[str, Any]]:
    """Arguments for a test client's generic()."""
    given = dict(headers)
    # The test clients send their own argument with a body, and the header without one.
    content_type = given.pop("Content-Type", "") if body else ""
    return (method, target, body), {"content_type": content_type, "headers": given}


def _read(answer: HttpResponseBase) -> Response:
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
    leave = asyncio.Event()
    headers = {name.lower(): value for name, value in answer.items()}
    pump = asyncio.create_task(_pump(answer, chunks, leave))
    return Response(answer.status_code, headers, chunks, pump, leave)


async def _pump(answer: Any, chunks: asyncio.Queue[bytes | None], leave: asyncio.Event) -> None:
    if not answer.streaming:
        chunks.put_nowait(answer.content)
        chunks.put_nowait(None)
        return
    reading = asyncio.create_task(_read_all(aiter(answer.streaming_content), chunks))
    leaving = asyncio.create_task(leave.wait())
    await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
    for task in (reading, leaving):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    # As Django's handler closes a response, in a thread of its own.
    await asyncio.to_thread(answer.close)
    chunks.put_nowait(None)


async def _read_all(content: AsyncIterator[bytes], chunks: asyncio.Queue[bytes | None]) -> None:
    async for chunk in content:
        chunks.put_nowait(chunk)
    chunks.put_nowait(None)


async def _no_django(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"Django"})


@cache
def _usual_mount() -> Application:
    """Shared by tests that change no setting: to check all endpoints takes longer than a short test."""
    return mount(_no_django)


def open_door(name: str) -> Door:
    if name == "mount":
        is_usual = settings.MCP_SESSIONS is USUAL
        return AsgiDoor(_usual_mount() if is_usual else mount(_no_django), has_get=True)
    if name == "django":
        django: Any = get_asgi_application()
        return AsgiDoor(django, has_get=False)
    return WsgiDoor() if name == "view-wsgi" else ViewDoor()


def pairs(headers: Mapping[str, str | None]) -> Pairs:
    """The headers that are there: None takes one away that would be sent otherwise."""
    return [(name, value) for name, value in headers.items() if value is not None]


def _refuse(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")
