"""The endpoint: one function that answers every request, whichever entry point it came through."""

from __future__ import annotations

from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Answer, EventStream, Exchange, Reply
from mcp_sessions.lifecycle import end, watch_credential
from mcp_sessions.protocol import get, httpsse, post, revisions, streams
from mcp_sessions.protocol.admission import admit, admitted_session
from mcp_sessions.protocol.answers import error_for_client, refusal, stopping
from mcp_sessions.protocol.bounds import check_head
from mcp_sessions.protocol.session_ids import SESSION_HEADER, find_session_id
from mcp_sessions.protocol.tracing import traced
from mcp_sessions.records import EndReason
from mcp_sessions.runtime import current, run
from mcp_sessions.throttling import limit_address, limit_principal

METHODS = "GET, POST, DELETE"


async def handle(exchange: Exchange) -> Reply:
    """Answer a request. Whatever is wrong with it, the answer is a JSON-RPC error with a fitting status."""
    return await run(_handle(exchange))


async def _handle(exchange: Exchange) -> Reply:
    if AppSettings(exchange.endpoint).SESSION_DEBUG:
        return await traced(exchange, _answer)
    return await _answer(exchange)


async def _answer(exchange: Exchange) -> Reply:
    try:
        return await _route(exchange)
    except Exception as error:
        failure = error_for_client(exchange, error)
        return get.asked_to_return(exchange, failure) or refusal(failure)


async def _route(exchange: Exchange) -> Reply:
    check_head(exchange, AppSettings(exchange.endpoint).MAX_HEADER_BYTES)
    # Before credentials are looked at, so that nobody tries them at will.
    await limit_address(exchange)
    admitted = await admit(exchange)
    await limit_principal(admitted)
    with get_hub().activity.request():
        reply = await _serve(admitted)
    if isinstance(reply, EventStream):
        watch_credential(admitted, reply.chunks)
    return reply


async def _serve(exchange: Exchange) -> Reply:
    if exchange.sse_path:
        httpsse.check(exchange)
    if exchange.method == "POST":
        return await post.serve(exchange)
    if current().draining:
        return _come_back(exchange)
    if exchange.method == "GET":
        return await get.serve(exchange)
    if exchange.method == "DELETE":
        return await _delete(exchange)
    raise RequestError(405, f"{exchange.method} is not served here.", headers=(("Allow", METHODS),))


def _come_back(exchange: Exchange) -> Reply:
    if exchange.method == "GET" and not exchange.sse_path and get.asks_for_stream(exchange):
        return EventStream(streams.come_back(exchange))
    raise stopping()


async def _delete(exchange: Exchange) -> Answer:
    """End the session the request names. Source: the specification, "Session Management"."""
    revisions.check_header(exchange)
    requested = find_session_id(exchange)
    if requested is None:
        raise RequestError(400, f"DELETE ends a session: name it in the {SESSION_HEADER} header.")
    session = await admitted_session(exchange, requested.session_id)
    revisions.check_session(exchange, session)
    await end(session.key, EndReason.DELETED)
    return Answer(204)
