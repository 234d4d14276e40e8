"""One request of a client while it runs: the SDK's dispatch context, and a task of the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data, progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from starlette.requests import Request as StarletteRequest

from mcp_sessions import jsonrpc
from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import Hub
from mcp_sessions.exceptions import MCPSessionsError
from mcp_sessions.exchange import Exchange
from mcp_sessions.identifiers import new_request_id
from mcp_sessions.logs import about, context_of, note
from mcp_sessions.protocol.callers import user_scope
from mcp_sessions.protocol.channel import Channel
from mcp_sessions.protocol.client_requests import lacking, progress_params, request_from_client, said_of
from mcp_sessions.protocol.outbound import publish_if_change
from mcp_sessions.records import PRIMING_SINCE, REQUEST_CANCELLED, SessionRecord
from mcp_sessions.runtime import current

logger = logging.getLogger("mcp_sessions.protocol")

CREDENTIALS = frozenset({"mcp-session-id", "x-session-id", "last-event-id"})
"""Headers with a session's id, which no tool is given."""

TOKENS = frozenset({"authorization", "cookie"})
"""Headers with a credential of the caller's; get_access_token() has the token."""

Serve = Callable[["Call"], Awaitable[dict[str, Any]]]


class Call:
    """A running call; it is the SDK's DispatchContext for it, and lives on when its connection dies."""

    counts = True

    def __init__(
        self, hub: Hub, session: SessionRecord, channel: Channel, exchange: Exchange, request: jsonrpc.Request
    ) -> None:
        self.session = session
        self.principal = exchange.principal
        self.hidden = exchange.hidden
        self.request_id = request.id
        self.cancel_requested = anyio.Event()
        self._hub = hub
        self._channel = channel
        self._request = request
        self._progress_token = progress_token_from_params(request.params)
        self._task: asyncio.Task[Any] | None = None
        self._cancelled: jsonrpc.Json | None = None
        self._has_begun = False
        self._is_over = False
        self._has_left = False
        self.last_sent: asyncio.Future[Any] | None = None
        headers = public_headers(exchange)
        self.transport = TransportContext(kind="streamable-http", can_send_request=True, headers=headers)
        self.message_metadata = ServerMessageMetadata(
            request_context=starlette_request(exchange, headers),
            close_sse_stream=channel.disconnect if _comes_back(session) else None,
            can_send_request=True,
        )

    @property
    def can_send_request(self) -> bool:
        return not self._is_over

    def start(self, serve: Serve) -> None:
        """Serve the request in a task, and send its answer, whatever happens. The process knows of the
        call until that task is over.
        """
        context = context_of(self.session)
        self._task = current().spawn(self._run(serve), f"call:{self._request.method}", context)
        self._hub.calls.register(self.session, self.request_id, self)
        self._task.add_done_callback(self._leave, context=context)

    def cancel(self, message: str, reason: str) -> None:
        """Stop the call. A thread that it runs cannot be stopped, but what it returns goes nowhere."""
        if self._is_over or self._cancelled is not None or self._task is None:
            return
        code = REQUEST_CANCELLED if reason == "cancelled" else jsonrpc.INTERNAL_ERROR
        self._cancelled = jsonrpc.error(code, message, data={"reason": reason}, request_id=self.request_id)
        self.cancel_requested.set()
        if self._has_begun:
            # A task that is cancelled before its first step runs nothing at all, and so gives no answer.
            self._task.cancel()

    def give_up(self) -> None:
        """Answer a cancelled call that does not stop, as if it had stopped: nobody waits for it any more."""
        if self._cancelled is not None and not self._is_over:
            answering = self._answer(jsonrpc.encode(self._cancelled))
            given_up = current().spawn(answering, "give up", context_of(self.session))
            given_up.add_done_callback(self._leave)

    async def _run(self, serve: Serve) -> None:
        message = await self._get_message(serve)
        if not self._is_over:
            await self._answer(message)

    async def _get_message(self, serve: Serve) -> str:
        """The response to the request, as JSON text."""
        self._has_begun = True
        if self._cancelled:
            return jsonrpc.encode(self._cancelled)
        try:
            message = jsonrpc.encode(jsonrpc.result(self.request_id, await serve(self)))
        except (Exception, asyncio.CancelledError) as error:
            # A tool may cancel the task that it runs in. The process does so too when it stops.
            if isinstance(error, asyncio.CancelledError) and not self._cancelled and current().is_over:
                raise
            message = "" if self._cancelled else self._describe(error)
        if self._task is not None and self._task.cancelling():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)  # a cancellation that waits for the next await comes here
        return jsonrpc.encode(self._cancelled) if self._cancelled else message

    async def _answer(self, message: str) -> None:
        self._is_over = True
        try:
            if self.last_sent is not None:
                # Who has the answer finds in the store what was sent before it, at any worker.
                await asyncio.wait({self.last_sent})
            await self._channel.answer(message)
        except MCPSessionsError as error:
            text, key = "session %s: the answer to a call is not stored: %s", self.session.key
            logger.warning(text, key, error, extra=about(key))

    def _leave(self, _: asyncio.Task[None]) -> None:
        if self._has_left:
            return
        self._has_left = True
        self._channel.leave()
        self._hub.calls.unregister(self.session, self.request_id, self)

    def _describe(self, error: BaseException) -> str:
        """The error message for what a handler raised, as JSON text."""
        known, request_id = handler_exception_to_error_data(error), self.request_id
        note(reason=f"error {known.code if known else jsonrpc.INTERNAL_ERROR}")
        if known is not None:
            # An error whose data is not JSON is the handler's mistake, like any other exception.
            with suppress(TypeError, ValueError, RecursionError):
                failure = jsonrpc.error(known.code, known.message, data=known.data, request_id=request_id)
                return jsonrpc.encode(failure)
        logger.error("%s failed", self._request.method, exc_info=error, extra=about(self.session.key))
        internal = jsonrpc.error(jsonrpc.INTERNAL_ERROR, "Internal server error", request_id=request_id)
        return jsonrpc.encode(internal)

    # -- what the SDK sends through ------------------------------------------------------

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """The client's answer to a request. Raises MCPError for an error, or when no answer comes."""
        if not self.can_send_request:
            raise NoBackChannelError(method)
        self._check_declared(method, params)
        request_id, progress = new_request_id(), (opts or {}).get("on_progress")
        request = jsonrpc.request(request_id, method, _with_token(params, progress, request_id))

        async def send() -> None:
            if not await self._channel.send(request):
                raise NoBackChannelError(method)

        async def withdraw(reason: str) -> None:
            named = {"requestId": request_id, "reason": reason}
            await self._channel.send(jsonrpc.notification("notifications/cancelled", named))

        return await request_from_client(self.session, request_id, method, opts, send, withdraw)

    def _check_declared(self, method: str, params: Mapping[str, Any] | None) -> None:
        """What was negotiated binds both sides, and the SDK asks all the same."""
        lack = lacking(method, params, self.session.metadata.get("capabilities", {}))
        if lack is not None:
            raise MCPError(jsonrpc.INVALID_REQUEST, said_of(lack, method))

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        if not self._is_over and self.session.takes(method, params):
            await self._channel.send(jsonrpc.notification(method, params))
            await publish_if_change(self.session.server, method, params)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self._progress_token is None:
            return
        params = {"progressToken": self._progress_token, **progress_params(progress, total, message)}
        await self.notify("notifications/progress", params)


class Standalone:
    """The SDK's connection-wide outbound: requests on the call's stream, the rest on the GET stream."""

    def __init__(self, hub: Hub, session: SessionRecord, call: Call | None) -> None:
        self._hub = hub
        self._session = session
        self._call = call

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        if self._call is None:
            raise NoBackChannelError(method)
        return await self._call.send_raw_request(method, params, opts)

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        if self._session.takes(method, params):
            message = jsonrpc.encode(jsonrpc.notification(method, params))
            sent = await self._hub.send_message(self._session.key, message)
            if self._call is not None:
                self._call.last_sent = sent
            await publish_if_change(self._session.server, method, params)


def public_headers(exchange: Exchange) -> dict[str, str]:
    """The request's headers without the credentials in them: tools log what they are given, and pass it on.

    On an endpoint that authenticates nobody, an Authorization header and cookies are the tool's own matter.
    """
    hidden = CREDENTIALS if exchange.principal.is_anonymous else CREDENTIALS | TOKENS
    return {name: value for name, value in exchange.headers.items() if name not in hidden}


def starlette_request(exchange: Exchange, headers: Mapping[str, str]) -> StarletteRequest:
    """The HTTP request as server libraries hand it to tools, without ids and without the query."""
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": exchange.method,
        "scheme": exchange.scheme,
        "path": exchange.path,
        "query_string": b"",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": (exchange.address, 0),
        **user_scope(exchange.principal),
    }
    return StarletteRequest(scope)


def _comes_back(session: SessionRecord) -> bool:
    """Whether a client whose connection is closed early has an event id to come back with."""
    return session.protocol_version >= PRIMING_SINCE and bool(AppSettings(session.server).PRIMING_EVENTS)


def _with_token(params: Mapping[str, Any] | None, progress: object, token: str) -> Mapping[str, Any] | None:
    if progress is None:
        return params
    given = dict(params or {})
    return {**given, "_meta": {**given.get("_meta", {}), "progressToken": token}}
