"""POST: requests, notifications and responses of clients with a handshake.

Source: the specification, "Sending Messages to the Server" and "Lifecycle"; the guide's chapter "Using
Session ID in Requests".
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data

from mcp_sessions import jsonrpc, sse
from mcp_sessions.conf import AppSettings, modern_revisions
from mcp_sessions.delivery import KNOWN_SECONDS, LOST, Closing, get_hub
from mcp_sessions.exceptions import RequestError, StoreUnavailable
from mcp_sessions.exchange import SSE_HEADERS, Answer, EventStream, Exchange, Reply, accepts
from mcp_sessions.jsonrpc import Message, Notification, Request, Response
from mcp_sessions.lifecycle import open_session, touch, watch
from mcp_sessions.logs import about, context_of, note
from mcp_sessions.protocol import dispatch, modern, revisions, streams
from mcp_sessions.protocol.admission import admitted_session, opening_metadata
from mcp_sessions.protocol.answers import JSON_HEADERS, error_for_client, json_answer, refusal, stopping
from mcp_sessions.protocol.bounds import check_answers, check_client, check_names, cut_reason
from mcp_sessions.protocol.call import Call
from mcp_sessions.protocol.call_limits import limit_calls
from mcp_sessions.protocol.channel import BodyChannel, Channel, GetStreamChannel, ReplyChannel
from mcp_sessions.protocol.guarding import Asked, permit
from mcp_sessions.protocol.servers import PreparedServer, get_server
from mcp_sessions.protocol.session_ids import SESSION_HEADER, RequestedId, find_session_id
from mcp_sessions.records import MESSAGE, SessionRecord
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_store
from mcp_sessions.throttling import limit_address, limit_opening, limit_principal, limit_session

logger = logging.getLogger("mcp_sessions.protocol")

JSON: Final = "application/json"
SSE: Final = "text/event-stream"
NO_STREAM: Final = "The answer to the call cannot be stored: its outcome is unknown"
LOST_BODY: Final = (
    "No body arrived. The request has an Upgrade header, and some HTTP parsers (httptools) lose the body of "
    "such a request: have the client not offer an upgrade (HTTP/1.1 only), or run uvicorn with --http h11."
)


@dataclass(frozen=True, slots=True)
class Post:
    """A POST on its way: its exchange, the server it is for, and how it may be answered."""

    exchange: Exchange
    server: PreparedServer
    requested: RequestedId | None

    @property
    def by_guide(self) -> bool:
        return self.requested is not None and self.requested.by_guide

    @property
    def can_stream(self) -> bool:
        return _can_stream(self.exchange)


async def serve(exchange: Exchange) -> Reply:
    """Answer a POST."""
    _check_body(exchange)
    value = jsonrpc.decode(exchange.body, AppSettings(exchange.endpoint).MAX_DEPTH)
    try:
        # To a probe, which needs no store, a 5xx is no answer: some clients then give up.
        if current().draining and not revisions.is_probe(value):
            raise stopping()
        return _in_accepted_form(exchange, await _serve_value(exchange, value))
    except Exception as error:
        return refusal(error_for_client(exchange, error), jsonrpc.request_id_of(value))


async def _serve_value(exchange: Exchange, value: Any) -> Reply:
    serves_modern = bool(modern_revisions(exchange.endpoint))
    if revisions.is_probe(value) and not serves_modern:
        raise revisions.refuse_probe()
    is_modern = revisions.is_modern(exchange, value)
    if revisions.is_probe(value) and not is_modern:
        raise revisions.refuse_probe()
    messages = [] if is_modern else _parse(exchange, value)
    note(messages=messages)
    check_names(messages, AppSettings(exchange.endpoint).MAX_ID_LENGTH)
    await _limit_batch(exchange, len(messages) - 1)
    server = await get_server(exchange.endpoint)
    if is_modern:
        if not serves_modern:
            raise revisions.refuse_modern(exchange, value)
        _check_accept(exchange)
        exchange = replace(exchange, can_stream=_can_stream(exchange))
        if server.guard.is_needed:
            exchange = await permit(server.guard, exchange, _asked(value))
        return await modern.serve(exchange, server, value)
    post = Post(exchange, server, find_session_id(exchange))
    if any(isinstance(message, Request) for message in messages) and not post.by_guide:
        _check_accept(exchange)
    first = messages[0]
    if isinstance(first, Request) and first.method == "initialize" and not isinstance(value, list):
        return await _initialize(post, revisions.negotiated(exchange, first))
    if post.requested is None:
        revisions.check_handshake(exchange)
        raise RequestError(
            400, f"The session is missing: send the {SESSION_HEADER} header that initialize gave you."
        )
    session = await admitted_session(exchange, post.requested.session_id)
    revisions.check_session(exchange, session)
    await limit_session(exchange, session, len(messages))
    check_answers(messages, exchange.body, AppSettings(exchange.endpoint).MAX_CLIENT_REPLY_BYTES)
    _check_batch(value, messages, session)
    limit_calls(exchange, session, sum(isinstance(message, Request) for message in messages))
    if server.guard.is_needed:
        asked = [(message.method, message.params) for message in messages if isinstance(message, Request)]
        post = replace(post, exchange=await permit(server.guard, exchange, asked))
    touch(session, requests=0 if _is_handshake(messages) else 1)
    return await _serve_messages(post, session, messages, is_batch=isinstance(value, list))


def _asked(value: Any) -> list[Asked]:
    """Method and params of a request that the SDK has not looked at."""
    method, params = (value.get(name) if isinstance(value, dict) else None for name in ("method", "params"))
    return [(method, params)] if isinstance(method, str) and isinstance(params, dict) else []


async def _serve_messages(
    post: Post, session: SessionRecord, messages: list[Message], *, is_batch: bool
) -> Reply:
    requests = [message for message in messages if isinstance(message, Request)]
    with get_hub().calls.due(session.key, len(requests)):
        for message in messages:
            if isinstance(message, Notification):
                await _take_notification(post, session, message)
            elif isinstance(message, Response):
                await get_hub().pending_requests.answer(session.key, message)
    if not requests:
        return Answer(202)
    if post.requested is not None and post.requested.by_endpoint:
        return await _serve_on_stream(post, session, requests)
    return await _serve_requests(post, session, requests, is_batch=is_batch)


async def _serve_on_stream(post: Post, session: SessionRecord, requests: list[Request]) -> Reply:
    """As 2024-11-05 has it: answers come on the GET stream."""
    for number, request in enumerate(requests):
        with get_hub().calls.due(session.key, len(requests) - number):
            channel = await GetStreamChannel.open(get_hub(), session, request.id)
        _start(post, session, channel, [request])
    watch(session)
    return Answer(202)


async def _serve_requests(
    post: Post, session: SessionRecord, requests: list[Request], *, is_batch: bool
) -> Reply:
    """JSON if every answer comes first; a stream if something is sent before, or it takes long."""
    make = ReplyChannel if post.can_stream else BodyChannel
    channel = make(get_hub(), session, [request.id for request in requests], is_batch=is_batch)
    _start(post, session, channel, requests)
    await _wait_for_decision(session, channel, requests, can_stream=post.can_stream)
    if channel.is_answered:
        return Answer(200, JSON_HEADERS, channel.body)
    if channel.is_left:
        raise RequestError(500, "The call ended without an answer.", code=jsonrpc.INTERNAL_ERROR)
    try:
        stream = await channel.become_stream()
    except StoreUnavailable as error:
        text, key = "session %s: the stream of a call that has begun cannot be opened: %s", session.key
        logger.error(text, key, error, extra=about(key))
        # No 503: a client or proxy that repeats the request would run the tool a second time.
        raise RequestError(500, NO_STREAM, code=jsonrpc.INTERNAL_ERROR, data={"reason": LOST}) from error
    follower = get_hub().connections.follow(stream, 0, session)
    if channel.is_disconnected:
        follower.close(Closing.POLLING)
    return EventStream(streams.specification_chunks(follower, session))


async def _wait_for_decision(
    session: SessionRecord, channel: ReplyChannel, requests: list[Request], *, can_stream: bool
) -> None:
    """Until the reply is answered, a stream, or to become one."""
    # Most calls are answered in the first turn that they get: no timer is set for them.
    await asyncio.sleep(0)
    if channel.decided.done() and channel.is_answered:
        return
    wait_seconds = AppSettings(session.server).STREAM_AFTER_SECONDS
    if not can_stream or wait_seconds > KNOWN_SECONDS:
        # There is no stream for long, from which other processes could know that the calls run.
        early = min(wait_seconds, KNOWN_SECONDS)
        await asyncio.wait({channel.decided}, timeout=early)
        wait_seconds -= early
        if not channel.decided.done():
            get_hub().calls.publish(session, [request.id for request in requests])
    await asyncio.wait({channel.decided}, timeout=wait_seconds)
    if not channel.is_answered:
        watch(session)
    if not can_stream:
        await asyncio.wait({channel.decided})


def _start(post: Post, session: SessionRecord, channel: Channel, requests: list[Request]) -> None:
    for request in requests:
        call = Call(get_hub(), session, channel, post.exchange, request)
        serve = partial(dispatch.serve_request, post.server, get_hub(), request=request)
        call.start(serve)


async def _take_notification(post: Post, session: SessionRecord, message: Notification) -> None:
    params = message.params or {}
    if message.method == "notifications/cancelled":
        await get_hub().calls.cancel(session, params.get("requestId"), cut_reason(params))
    elif message.method == "notifications/progress":
        await get_hub().pending_requests.progress(session.key, params)
    elif message.method == "notifications/initialized" and not session.metadata.get("initialized"):
        await get_store().asave_metadata(session.key, {"initialized": True})
    work = dispatch.serve_notification(post.server, get_hub(), session, post.exchange, message)
    current().spawn(work, message.method, context_of(session))


async def _initialize(post: Post, request: Request) -> Reply:
    """Open a session, or fill a guide's; only what succeeded leaves a row."""
    filled = None
    if post.requested is not None:
        filled = await admitted_session(post.exchange, post.requested.session_id)
        if filled.dialect != "guide":
            raise RequestError(400, "This session is initialized already. Open another without a session id.")
        await limit_session(post.exchange, filled)
    else:
        await limit_opening(post.exchange)
    try:
        result, learned = await dispatch.initialize(post.server, post.exchange, request)
        check_client(learned, AppSettings(post.exchange.endpoint).MAX_CLIENT_BYTES)
    except Exception as error:
        return await _give(post, filled, _describe(request, error))
    message = jsonrpc.result(request.id, result)
    if filled is not None:
        # Such a client takes the URL that its stream begins with, and no other.
        by_endpoint = {"posts_to_endpoint": True} if post.requested and post.requested.by_endpoint else {}
        await get_store().asave_metadata(filled.key, {**learned, **by_endpoint})
        touch(filled, requests=1)
        return await _give(post, filled, message)
    metadata = {"dialect": "specification", **learned, **opening_metadata(post.exchange)}
    session_id, _ = await open_session(post.exchange.endpoint, post.exchange.owner, metadata, "initialize")
    return json_answer(message, headers=(("Mcp-Session-Id", session_id),))


async def _give(post: Post, session: SessionRecord | None, message: jsonrpc.Json) -> Reply:
    """In the body; to a client of 2024-11-05 on its stream."""
    if session is None or post.requested is None or not post.requested.by_endpoint:
        return json_answer(message)
    await (await get_hub().send_message(session.key, jsonrpc.encode(message)))
    return Answer(202)


def _describe(request: Request, error: Exception) -> jsonrpc.Json:
    """The JSON-RPC error of a legacy request; its HTTP status is 200."""
    known = handler_exception_to_error_data(error)
    if known is None:
        raise error
    return jsonrpc.error(known.code, known.message, data=known.data, request_id=request.id)


async def _limit_batch(exchange: Exchange, more: int) -> None:
    """Count the other messages of a batch: the first was counted with its request."""
    if more > 0:
        await limit_address(exchange, more)
        await limit_principal(exchange, more)


def _parse(exchange: Exchange, value: Any) -> list[Message]:
    if not isinstance(value, list):
        return [jsonrpc.parse(value)]
    limit = AppSettings(exchange.endpoint).MAX_BATCH
    if not 0 < len(value) <= limit:
        raise RequestError(400, f"A batch has 1 to {limit} messages.")
    return [jsonrpc.parse(each) for each in value]


def _check_body(exchange: Exchange) -> None:
    limit = AppSettings(exchange.endpoint).MAX_BODY_BYTES
    if len(exchange.body) > limit:
        raise RequestError(413, f"The body has more than {limit} bytes.")
    media_type = exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        raise RequestError(415, "Send the message as Content-Type: application/json.")
    _check_encoding(exchange)
    if not exchange.body and "upgrade" in exchange.headers:
        raise RequestError(400, LOST_BODY, code=jsonrpc.PARSE_ERROR)


def _check_encoding(exchange: Exchange) -> None:
    encodings = {each.strip() for each in exchange.headers.get("content-encoding", "").lower().split(",")}
    if not encodings <= {"", "identity"}:
        headers = (("Accept-Encoding", "identity"),)
        raise RequestError(415, "Send the message uncompressed, without Content-Encoding.", headers=headers)


def _can_stream(exchange: Exchange) -> bool:
    return exchange.can_stream and accepts(exchange.headers.get("accept"), SSE)


def _check_accept(exchange: Exchange) -> None:
    """The specification's clients must take both forms of an answer. Some take one, and get that."""
    accept = exchange.headers.get("accept")
    enough = all if AppSettings(exchange.endpoint).STRICT_ACCEPT else any
    if not enough(accepts(accept, form) for form in (JSON, SSE)):
        raise RequestError(406, f"Accept both {JSON} and {SSE}.")


def _in_accepted_form(exchange: Exchange, reply: Reply) -> Reply:
    """The reply; an answer in the body as one event for a client that takes nothing but events."""
    accept = exchange.headers.get("accept")
    takes_events_alone = accepts(accept, SSE) and not accepts(accept, JSON)
    if not (takes_events_alone and isinstance(reply, Answer) and reply.status == 200):
        return reply
    others = tuple(pair for pair in reply.headers if pair[0].lower() != "content-type")
    return Answer(200, SSE_HEADERS + others, sse.frame(reply.body.decode(), event=MESSAGE))


def _is_handshake(messages: list[Message]) -> bool:
    """What ends the opening of a session is no use of it: who comes no further has never used it."""
    return all(isinstance(m, Notification) and m.method == "notifications/initialized" for m in messages)


def _check_batch(value: Any, messages: list[Message], session: SessionRecord) -> None:
    if not isinstance(value, list):
        return
    if session.protocol_version != revisions.BATCHES:
        raise RequestError(400, f"Revision {session.protocol_version} has no batches: send one message.")
    if any(isinstance(message, Request) and message.method == "initialize" for message in messages):
        raise RequestError(400, "initialize cannot be part of a batch.")
