"""Calls of 2026-07-28 that send requests to the client: elicitation, sampling and roots.

That revision has no requests of the server. A client is answered `input_required`, and repeats its request
with the answers. So a call that sends one is suspended. It waits at its worker, and from its first request to
the client on it is a stream in the store, as a long reply is in earlier revisions. The repeated request may
come to any worker. It hands the answers on, and follows the stream to the next requests or to the result.

Source: the specification of 2026-07-28, "Multi Round-Trip Requests".
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, Final

from django.utils import timezone
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.runner import modern_error_data
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp_types.methods import INPUT_REQUIRED_METHODS
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_sessions import jsonrpc
from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import Follower, get_hub
from mcp_sessions.exceptions import (
    InvalidSessionData,
    MCPSessionsError,
    RequestError,
    SessionDenied,
)
from mcp_sessions.identifiers import new_request_id
from mcp_sessions.isolation import isolated
from mcp_sessions.lifecycle import check_access, end, open_handle
from mcp_sessions.logs import about
from mcp_sessions.protocol.bounds import past_limit
from mcp_sessions.protocol.channel import refused
from mcp_sessions.protocol.client_requests import (
    NEEDS,
    lacking,
    not_declared,
    progress_params,
    request_from_client,
)
from mcp_sessions.protocol.handles import Caller, get_caller
from mcp_sessions.protocol.outages import before_work
from mcp_sessions.protocol.outbound import Publishing, Undeclared, sent_through
from mcp_sessions.protocol.outcomes import as_json, result_of
from mcp_sessions.protocol.threads import own_thread
from mcp_sessions.records import MESSAGE, REQUEST_CANCELLED, EndReason, Event, SessionRecord, StreamRecord
from mcp_sessions.refusals import report_refusal
from mcp_sessions.runtime import current
from mcp_sessions.sealing import seal, unseal
from mcp_sessions.state import current_session
from mcp_sessions.stores import get_store
from mcp_sessions.throttling import limit_opening

logger = logging.getLogger("mcp_sessions.protocol")

Request = ServerRequestContext[Any, Any]

PREFIX: Final = "suspended."
"""Begins our states; those of others are handed on."""
PURPOSE: Final = "suspended"
READ_LIMIT: Final = 1000
"""Messages after the last requests among which the outcome is looked for, if a client repeats its request."""
REQUESTED: Final = "mcp_sessions/requested"
"""The method of the messages in a call's stream that have its requests to the client. No client sees it."""
PROGRESS: Final = "notifications/progress"
URL_DONE: Final = "notifications/elicitation/complete"
"""What 2026-07-28 does not know: its clients repeat their request and see whether it is done."""
WAITS: Final = {"purpose": "call"}
"""The metadata of a session that was opened for a call alone."""


async def suspend(ctx: Request, call_next: CallNext) -> HandlerResult:
    """Middleware of a prepared server, for requests whose handlers may send some, and those that answer."""
    if ctx.method not in INPUT_REQUIRED_METHODS or ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return await call_next(ctx)
    caller = get_caller()
    if caller is None:
        return await call_next(ctx)
    state = (ctx.params or {}).get("requestState")
    if isinstance(state, str) and state.startswith(PREFIX):
        with before_work(ctx.method):
            return await _resume(ctx, caller, state.removeprefix(PREFIX))
    if not _takes_requests(ctx):
        ctx = sent_through(ctx, lambda channel: Publishing(Undeclared(channel), caller.endpoint))
        return await call_next(ctx)
    call = SuspendableCall(ctx, caller)
    return await call.serve(call_next)


def _takes_requests(ctx: Request) -> bool:
    declared = ctx.session.client_capabilities
    return declared is not None and any(getattr(declared, name) is not None for name in NEEDS.values())


# -- the call ----------------------------------------------------------------------------------------


class SuspendableCall:
    """A call that may send requests to its client.

    Its handler sends through it, and once it is suspended it is a running call of the process.
    """

    counts = True

    def __init__(self, ctx: Request, caller: Caller) -> None:
        self._ctx = ctx
        self._caller = caller
        self._sent_through: Any = ctx.session._request_outbound
        self.transport = self._sent_through.transport
        self.request_id = self._sent_through.request_id
        self.message_metadata = self._sent_through.message_metadata
        self.cancel_requested = self._sent_through.cancel_requested
        self.can_send_request = True
        self._id = new_request_id()
        self._place: tuple[SessionRecord, StreamRecord] | None = None
        self._in_turn = asyncio.Lock()
        self._requests: dict[str, dict[str, Any]] = {}
        self._first: asyncio.Future[HandlerResult] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._cancelled: jsonrpc.Json | None = None
        self._is_over = False

    async def serve(self, call_next: CallNext) -> HandlerResult:
        """The result, or the first requests to the client; the call goes on after those."""
        self._task = current().spawn(self._run(call_next), f"call:{self._ctx.method}", copy_context())
        try:
            return await asyncio.shield(self._first)
        except asyncio.CancelledError:
            # The client has closed the stream. That cancels the call.
            self._task.cancel()
            raise

    async def _run(self, call_next: CallNext) -> None:
        try:
            async with own_thread():
                result = await isolated(call_next(self._seen_by_handler()))
        except asyncio.CancelledError:
            if self._cancelled is None:
                self._first.cancel()
                if self._place is None:
                    raise
            await self._end(self._cancelled or self._cancellation("the client has left", "cancelled"))
        except Exception as error:
            await self._fail(error)
        else:
            await self._succeed(result)

    async def _succeed(self, result: HandlerResult) -> None:
        if self._place is None:
            self._first.set_result(result)
        else:
            await self._end(jsonrpc.result(self._id, as_json(result)))

    async def _fail(self, error: Exception) -> None:
        if self._place is None:
            self._first.set_exception(error)
        else:
            known = modern_error_data(error)
            await self._end(jsonrpc.error(known.code, known.message, data=known.data, request_id=self._id))

    def _seen_by_handler(self) -> Request:
        """The request, with a session that sends through this."""
        return sent_through(self._ctx, lambda _: Publishing(self, self._caller.endpoint))

    # -- what the handler sends ------------------------------------------------------------------

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """The client's answer to a request. Raises MCPError for an error, or when no answer comes."""
        self._check_declared(method, params)
        session, _ = await self._suspended()
        key = new_request_id()

        async def send() -> None:
            known = {name: value for name, value in (params or {}).items() if name != "elicitationId"}
            self._requests[key] = {"method": method, "params": known}
            await self._store_requests()

        try:
            return await request_from_client(session, key, method, opts, send)
        finally:
            self._requests.pop(key, None)

    def _check_declared(self, method: str, params: Mapping[str, Any] | None) -> None:
        declared = self._ctx.session.client_capabilities
        known = declared.model_dump(by_alias=True, exclude_none=True) if declared is not None else {}
        lack = lacking(method, params, known)
        if lack is not None or method not in NEEDS:
            raise not_declared(method, lack)

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        if method == URL_DONE:
            return
        if self._place is None:
            await self._sent_through.notify(method, params, opts)
        elif not self._is_over:
            await get_hub().append(
                self._place[1], MESSAGE, jsonrpc.encode(jsonrpc.notification(method, params))
            )

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self._place is None:
            await self._sent_through.progress(progress, total, message)
            return
        await self.notify(PROGRESS, progress_params(progress, total, message))

    # -- the stream ------------------------------------------------------------------------------

    async def _suspended(self) -> tuple[SessionRecord, StreamRecord]:
        """The call as a stream in the store, from its first request to the client on."""
        async with self._in_turn:
            if self._place is None:
                session = await self._session()
                stream = await get_hub().open(session.key, "post", [self._id])
                get_hub().calls.register(session, self._id, self)
                assert self._task is not None
                self._task.add_done_callback(lambda _: self._leave(session, stream))
                self._place = session, stream
        return self._place

    async def _session(self) -> SessionRecord:
        """The caller's own session; else one for this call."""
        if (own := current_session.get()) is not None:
            return own.record
        metadata = {**self._caller.metadata, **WAITS}
        try:
            await limit_opening(self._caller.exchange)
            _, session = await open_handle(self._caller.endpoint, self._caller.owner, metadata)
        except RequestError as error:
            # The tool's own error would say nothing of it to the client.
            raise MCPError(error.code, error.message, error.data) from error
        return session

    async def _store_requests(self) -> None:
        """Store the requests to the client: those that the handler sends in this moment together."""
        await asyncio.sleep(0)
        assert self._place is not None
        _, stream = self._place
        requests = dict(self._requests)
        message = jsonrpc.encode(jsonrpc.notification(REQUESTED, {"inputRequests": requests}))
        placed = await (await get_hub().append(stream, MESSAGE, message))
        if not self._first.done() and placed:
            at = placed[0][1]
            identity, keys = _identity(self._ctx), tuple(requests)
            place = Place(stream.session_key, stream.name, at, self._id, identity, keys)
            self._first.set_result(_input_required(requests, place, self._caller))

    async def _end(self, message: jsonrpc.Json) -> None:
        """Store the last message of the call.

        If nothing was requested of the client yet, the message answers the client's first request.
        """
        assert self._place is not None
        self._is_over = True
        self._settle(message)
        session, stream = self._place
        text = jsonrpc.encode(message)
        try:
            try:
                await (await get_hub().append(stream, MESSAGE, text, ends=True))
            except InvalidSessionData as error:
                await (await get_hub().append(stream, MESSAGE, refused(text, error), ends=True))
        except MCPSessionsError as error:
            said, key = "session %s: the answer to a call is not stored: %s", session.key
            logger.warning(said, key, error, extra=about(key))

    def _settle(self, message: jsonrpc.Json) -> None:
        if self._first.done():
            return
        try:
            self._first.set_result(result_of(message))
        except MCPError as error:
            self._first.set_exception(error)

    def _leave(self, session: SessionRecord, stream: StreamRecord) -> None:
        get_hub().leave(stream)
        get_hub().calls.unregister(session, self._id, self)

    # -- what stops it ---------------------------------------------------------------------------

    def cancel(self, message: str, reason: str) -> None:
        """Stop the call. Its client gets the message, and the reason in the error's data."""
        if self._is_over or self._cancelled is not None or self._task is None:
            return
        self._cancelled = self._cancellation(message, reason)
        self.cancel_requested.set()
        self._task.cancel()

    def give_up(self) -> None:
        """Answer a cancelled call that does not stop, as if it had stopped."""
        if self._cancelled is not None and not self._is_over:
            current().spawn(self._end(self._cancelled), "give up")

    def _cancellation(self, message: str, reason: str) -> jsonrpc.Json:
        code = REQUEST_CANCELLED if reason == "cancelled" else jsonrpc.INTERNAL_ERROR
        return jsonrpc.error(code, message, data={"reason": reason}, request_id=self._id)


# -- the request that answers --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a suspended call stands: its stream, its requests' position there, and what the client requested.

    `keys` are those of the requests there that the client has not answered yet.
    """

    session: str
    stream: str
    position: int
    call: str
    identity: str
    keys: tuple[str, ...]

    def sealed(self, caller: Caller) -> str:
        parts = [self.session, self.stream, self.position, self.call, self.identity, *self.keys]
        return PREFIX + seal(json.dumps(parts), PURPOSE, _bound_to(caller))

    @classmethod
    def unsealed(cls, state: str, caller: Caller) -> Place | None:
        text = unseal(state, PURPOSE, _bound_to(caller))
        if text is None:
            return None
        session, stream, position, call, identity, *keys = json.loads(text)
        return cls(session, stream, position, call, identity, tuple(keys))


async def _resume(ctx: Request, caller: Caller, state: str) -> HandlerResult:
    """Hand the client's answers on; the next requests to it, or the result."""
    place = Place.unsealed(state, caller)
    if place is None or place.identity != _identity(ctx):
        raise _invalid()
    session = await get_store().aload_by_key(place.session)
    if session is None or not _may_answer(session, caller):
        raise _invalid()
    if not session.is_live(timezone.now()):
        return await _stored_outcome(session, place)
    requests = await _requests_at(place)
    answers = _answers_in(ctx, caller)
    for key in requests.keys() & answers.keys():
        await get_hub().pending_requests.answer(session.key, jsonrpc.Response(key, answers[key], None))
    missing = {key: requests[key] for key in requests.keys() - answers.keys()}
    if missing:
        return _input_required(missing, place, caller)
    return await _follow(ctx, caller, session, place, answers.keys())


def _answers_in(ctx: Request, caller: Caller) -> Mapping[str, Any]:
    """The client's answers. Raises MCPError for what can be none."""
    answers = (ctx.params or {}).get("inputResponses") or {}
    if not isinstance(answers, Mapping) or not all(isinstance(each, Mapping) for each in answers.values()):
        raise MCPError(jsonrpc.INVALID_PARAMS, "inputResponses maps each key to the result of its request.")
    limit = AppSettings(caller.endpoint).MAX_CLIENT_REPLY_BYTES
    if any(len(jsonrpc.encode(each)) > limit for each in answers.values()):
        raise past_limit(
            "answer_too_large", limit, "The answer to a request of the server has at most {} bytes."
        )
    return answers


def _may_answer(session: SessionRecord, caller: Caller) -> bool:
    """Whether SESSION_BINDING permits it, of a call's own session: a principal's own comes from anywhere."""
    if not _is_own(session):
        return True
    try:
        check_access(session, caller.exchange)
    except SessionDenied as error:
        report_refusal(caller.exchange, error.reason, error.key)
        return False
    return True


async def _requests_at(place: Place) -> dict[str, Any]:
    """The requests to the client at the place that are not answered yet."""
    reading = await get_store().aread(place.stream, place.position - 1, 1)
    if reading is None or not reading.events or reading.events[0].position != place.position:
        raise _invalid()
    requests: dict[str, Any] = json.loads(reading.events[0].data)["params"]["inputRequests"]
    return {key: requests[key] for key in place.keys}


async def _stored_outcome(session: SessionRecord, place: Place) -> HandlerResult:
    """The outcome of a call whose own session has ended with it: its client repeats the request."""
    reading = await get_store().aread(place.stream, place.position, READ_LIMIT) if _is_own(session) else None
    for event in () if reading is None else reading.events:
        message = json.loads(event.data)
        if "method" not in message:
            return result_of(message)
    raise _invalid()


async def _follow(
    ctx: Request, caller: Caller, session: SessionRecord, place: Place, answered: Any
) -> HandlerResult:
    follower = await get_hub().connections.follow_again(session, place.stream, place.position)
    if follower is None:
        raise _invalid()
    try:
        async with aclosing(_messages(follower)) as messages:
            async for event, message in messages:
                if "method" not in message:
                    await _forget(session)
                    return result_of(message)
                if message["method"] != REQUESTED:
                    await _hand_on(ctx, message)
                elif missing := _not_answered(message, answered):
                    return _input_required(missing, replace(place, position=event.position), caller)
    except asyncio.CancelledError:
        # The client has closed the stream. That cancels the call, at whichever worker it is.
        current().spawn(get_hub().calls.cancel(session, place.call, "the client has left"), "cancel")
        raise
    finally:
        follower.detach()
    raise MCPError(jsonrpc.INTERNAL_ERROR, "The stream was cut. Send the request again.", {"reason": "retry"})


async def _messages(follower: Follower) -> AsyncGenerator[tuple[Event, jsonrpc.Json], None]:
    async with aclosing(follower.items()) as items:
        async for item in items:
            if isinstance(item, Event):
                yield item, json.loads(item.data)


def _not_answered(message: jsonrpc.Json, answered: Any) -> dict[str, Any]:
    """The requests of the message that the client has not answered with this request of its own."""
    requests = message["params"]["inputRequests"]
    return {key: request for key, request in requests.items() if key not in answered}


async def _hand_on(ctx: Request, message: jsonrpc.Json) -> None:
    """Send a notification of the call on this request's stream; progress under this request's token."""
    params = message.get("params")
    if message["method"] == PROGRESS:
        if (token := progress_token_from_params(ctx.params)) is None:
            return
        params = {**(params or {}), "progressToken": token}
    await ctx.session._request_outbound.notify(message["method"], params)


async def _forget(session: SessionRecord) -> None:
    """A session that was opened for the call alone has served its purpose."""
    if _is_own(session):
        await end(session.key, EndReason.DELETED)


def _is_own(session: SessionRecord) -> bool:
    """Whether the session was opened for a call alone."""
    return session.metadata.get("purpose") == WAITS["purpose"]


def _input_required(requests: Mapping[str, Any], place: Place, caller: Caller) -> dict[str, Any]:
    return {
        "resultType": "input_required",
        "inputRequests": dict(requests),
        "requestState": replace(place, keys=tuple(requests)).sealed(caller),
    }


def _identity(ctx: Request) -> str:
    """What is requested: a state is good for the very same request only."""
    params = ctx.params or {}
    named = [ctx.method, params.get("name"), params.get("uri"), params.get("arguments")]
    return hashlib.sha256(jsonrpc.encode(named).encode()).hexdigest()[:32]


def _bound_to(caller: Caller) -> str:
    return f"{caller.endpoint}\n{caller.owner}"


def _invalid() -> MCPError:
    return MCPError(
        jsonrpc.INVALID_PARAMS, "Invalid or expired requestState", {"reason": "invalid_request_state"}
    )
