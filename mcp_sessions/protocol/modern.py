"""Revision 2026-07-28, served by the SDK: one self-contained request, no session.

The SDK's entry is an ASGI application, and what arrives here is an exchange, so this gives it
an ASGI scope made of the exchange. Closing the reply's stream is the cancellation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mcp_sessions import jsonrpc, sse
from mcp_sessions.context_values import set_within
from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Answer, EventStream, Exchange, Reply
from mcp_sessions.protocol import handles, revisions
from mcp_sessions.protocol.answers import JSON_HEADERS, store_unavailable
from mcp_sessions.protocol.call import public_headers
from mcp_sessions.protocol.call_limits import CountedCall
from mcp_sessions.protocol.callers import user_scope
from mcp_sessions.protocol.dispatch import call_context
from mcp_sessions.protocol.outages import StoreOutage, current_outage
from mcp_sessions.protocol.outgoing import Message, Outgoing
from mcp_sessions.protocol.permitting import guarded
from mcp_sessions.protocol.servers import PreparedServer
from mcp_sessions.protocol.threads import own_thread
from mcp_sessions.records import MESSAGE, SessionRecord
from mcp_sessions.runtime import current
from mcp_sessions.throttling import limit_streams

logger = logging.getLogger("mcp_sessions.protocol")

UNUSED = frozenset({"origin", "accept"})
"""Headers the SDK does not get: they were checked before."""
LISTEN = "subscriptions/listen"
"""Its stream stays open, as a GET stream of earlier revisions does."""
CONNECTION_HEADERS = frozenset({b"connection", b"content-length"})
"""Headers of the SDK's answers that are the server's to send."""


async def serve(exchange: Exchange, server: PreparedServer, value: Any) -> Reply:
    """Have the SDK answer the request, whose body was read as `value`."""
    caller = handles.Caller(exchange, CountedCall(exchange), revisions.introduction(exchange, value))
    request_id = jsonrpc.request_id_of(value)
    method = exchange.headers.get("mcp-method", "")
    if method == LISTEN:
        return await limit_streams(exchange, lambda: _serve(exchange, server, request_id, caller, None))
    if (own := await handles.own_session(caller, method)) is not None:
        caller.call.count_own(own)
    return await _serve(exchange, server, request_id, caller, own)


async def _serve(
    exchange: Exchange,
    server: PreparedServer,
    request_id: jsonrpc.RequestId | None,
    caller: handles.Caller,
    own: SessionRecord | None,
) -> Reply:
    application = _Application(exchange, server, request_id, caller, own)
    application.start()
    try:
        return await application.reply()
    except asyncio.CancelledError:
        application.close()
        raise


class _Application:
    """Runs the SDK's ASGI application and turns what it sends into a reply; it is the running call, too."""

    counts = True

    def __init__(
        self,
        exchange: Exchange,
        server: PreparedServer,
        request_id: jsonrpc.RequestId | None,
        caller: handles.Caller,
        own: SessionRecord | None,
    ) -> None:
        self._caller = caller
        self._own = own
        self._exchange = exchange
        self._request_id = request_id
        self._server = server
        self._outage = StoreOutage()
        self._sent = Outgoing()
        self._closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._cancelled: jsonrpc.Json | None = None
        self._has_begun = False
        self._has_read = False

    def start(self) -> None:
        self._task = current().spawn(self._run(), "modern")
        self._task.add_done_callback(self._end)
        get_hub().calls.register_stateless(self)

    def cancel(self, message: str, reason: str) -> None:
        """Stop the call. Its client gets the message, and the reason in the error's data."""
        if self._cancelled is None and self._task is not None:
            data = {"reason": reason}
            self._cancelled = jsonrpc.error(
                jsonrpc.INTERNAL_ERROR, message, data=data, request_id=self._request_id
            )
            self._task.cancel()

    def give_up(self) -> None:
        """End the reply of a call that was cancelled and does not stop."""
        self._sent.end()

    def close(self) -> None:
        """The client has closed the stream, or has left before there was one. That cancels the call."""
        self._closed.set()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        self._has_begun = True
        entry = self._server.modern if self._exchange.can_stream else self._server.modern_body
        try:
            with set_within(current_outage, self._outage), self._call_context():
                async with own_thread():
                    await entry.handle_request(self._scope(), self._receive, self._send)
        finally:
            if not self._closed.is_set():
                self._sent.end()

    def _end(self, _: asyncio.Task[None]) -> None:
        self._caller.call.end()
        get_hub().calls.unregister_stateless(self)
        # A task that is cancelled before its first step runs nothing at all.
        if not self._has_begun:
            self._sent.end()

    @contextmanager
    def _call_context(self) -> Iterator[None]:
        principal, hidden = self._exchange.principal, self._exchange.hidden
        checked = guarded(self._server.guard, principal, hidden)
        with call_context(self._own, principal, set_within(handles.current_caller, self._caller), checked):
            yield

    async def reply(self) -> Reply:
        start = await self._sent.get()
        if start is None and self._cancelled is not None:
            return Answer(200, JSON_HEADERS, jsonrpc.encode(self._cancelled).encode())
        if start is None:
            logger.error("a request of a revision without sessions ended without an answer")
            raise RequestError(500, "Internal server error", code=jsonrpc.INTERNAL_ERROR)
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in start["headers"]
            if name.lower() not in CONNECTION_HEADERS
        )
        body = await self._sent.get() or {}
        if not body.get("more_body"):
            if self._outage.error is not None and self._outage.is_unserved:
                raise store_unavailable(self._outage.error)
            return Answer(start["status"], headers, body.get("body", b""))
        chunks = _Chunks(self._sent, body, self._no_answer, self.close, self._revoke)
        if not self._exchange.can_stream:
            await chunks.aclose()
            raise RequestError(
                406, "This is answered by a stream: accept text/event-stream. WSGI has no streams."
            )
        return EventStream(chunks, headers, start["status"])

    def _no_answer(self) -> bytes:
        """The last event of a stream whose call ended without an answer."""
        error = self._cancelled or jsonrpc.error(
            jsonrpc.INTERNAL_ERROR, "Internal server error", request_id=self._request_id
        )
        return sse.frame(jsonrpc.encode(error), event=MESSAGE)

    def _revoke(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _send(self, message: Message) -> None:
        await self._sent.put(message)

    async def _receive(self) -> dict[str, Any]:
        if not self._has_read:
            self._has_read = True
            return {"type": "http.request", "body": self._exchange.body, "more_body": False}
        await self._closed.wait()
        return {"type": "http.disconnect"}

    def _scope(self) -> dict[str, Any]:
        # What the client accepts was checked before, by more lenient rules than the SDK's.
        headers = [(b"accept", b"application/json, text/event-stream")] + [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in public_headers(self._exchange).items()
            if name not in UNUSED
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
            **user_scope(self._exchange.principal),
        }


class _Chunks:
    """What the SDK streams. Closing it cancels the call, also before the first chunk was asked for."""

    def __init__(
        self,
        sent: Outgoing,
        first: Message,
        no_answer: Callable[[], bytes],
        cancel: Callable[[], None],
        revoke: Callable[[], object],
    ) -> None:
        self._sent = sent
        self._next: Message | None = first
        self._no_answer = no_answer
        self.is_over = False
        self._cancel = cancel
        self.on_closed: Callable[[], None] | None = None
        """Called when it is closed, however often that is."""
        self.revoke = revoke
        """Cancels the call, since its client's credential is not valid any more: the stream ends."""

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        if self.is_over:
            raise StopAsyncIteration
        message, self._next = self._next or await self._sent.get(), None
        self.is_over = message is None or not message.get("more_body")
        return self._no_answer() if message is None else bytes(message.get("body", b""))

    async def aclose(self) -> None:
        self.is_over = True
        self._cancel()
        if self.on_closed is not None:
            self.on_closed()
