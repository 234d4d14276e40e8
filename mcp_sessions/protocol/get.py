"""GET: a session's standalone stream, the resumption of any stream, and the guide's way to a session.

Source: the specification, "Listening for Messages from the Server" and "Resumability and Redelivery"; the
guide's chapters "Establishing a Session" and "Session Resumption".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mcp_sessions import sse
from mcp_sessions.delivery import Follower, get_hub
from mcp_sessions.exceptions import RequestError, SessionConflict, SessionNotFound
from mcp_sessions.exchange import Answer, EventStream, Exchange, Reply, accepts
from mcp_sessions.lifecycle import open_session, touch, watch
from mcp_sessions.logs import note
from mcp_sessions.principals import ANONYMOUS
from mcp_sessions.protocol import httpsse, revisions, streams
from mcp_sessions.protocol.admission import admitted_session, opening_metadata
from mcp_sessions.protocol.session_ids import SESSION_HEADER, RequestedId, find_session_id
from mcp_sessions.records import SessionRecord
from mcp_sessions.security.rotation import id_for
from mcp_sessions.signal_queue import queue_signal
from mcp_sessions.signals import session_resumed
from mcp_sessions.throttling import limit_opening, limit_session, limit_streams

EVENT_STREAM: Final = "text/event-stream"
LATER: Final = frozenset({429, 503})
"""Statuses after which the same request may be served."""
PLAIN_PREFIX: Final = 32
"""Event ids of the specification's streams have no longer prefix, sealed ones have none so short."""

Place = tuple[str, int]
"""A stream's name, and the position a client has seen."""


async def serve(exchange: Exchange) -> Reply:
    """Answer a GET by a stream, unless its client has too many open."""
    if not asks_for_stream(exchange):
        raise RequestError(406, "GET opens a stream: accept text/event-stream.")
    return await limit_streams(exchange, lambda: _serve(exchange))


async def _serve(exchange: Exchange) -> Reply:
    revisions.check_header(exchange)
    last_event_id = exchange.headers.get("last-event-id", "")
    if last_event_id == sse.DEAD:
        return Answer(204)
    requested = find_session_id(exchange)
    if requested is None and not last_event_id:
        return await _open_by_guide(exchange)
    sealed, place = _unseal(exchange, last_event_id)
    if (
        requested is not None
        and sealed is not None
        and requested.session_id not in (sealed.session_id, sealed.named)
    ):
        raise SessionConflict
    if requested is None:
        requested = RequestedId(
            sealed.session_id if sealed else _no_session(last_event_id), by_guide=True, is_sealed=True
        )
        note(named_by="last-event-id")
    elif sealed is not None and requested.session_id != sealed.session_id:
        # Its URL still names the session as before a rotation, of which its stream was notified.
        requested = replace(
            requested, session_id=sealed.session_id, is_sealed=True, named=requested.session_id
        )
    return await _resume(exchange, requested, place, is_return=bool(last_event_id))


def asks_for_stream(exchange: Exchange) -> bool:
    """By name: a browser or a crawler that takes anything is not asking for a stream that never ends."""
    accept = exchange.headers.get("accept", "").lower()
    return EVENT_STREAM in accept and accepts(accept, EVENT_STREAM)


def asked_to_return(exchange: Exchange, error: RequestError) -> Reply | None:
    """The answer to a session guide client that may try again later; None for other clients and errors.

    After any other status than 200 a browser's EventSource never reconnects.
    """
    if error.status not in LATER or exchange.method != "GET":
        return None
    by_specification = exchange.headers.get(SESSION_HEADER) or exchange.sse_path
    if by_specification or not asks_for_stream(exchange):
        return None
    note(reason=(error.data or {}).get("reason", f"error {error.code}"))
    return EventStream(streams.come_back(exchange, error))


async def _open_by_guide(exchange: Exchange) -> Reply:
    version = revisions.guide_version(exchange)
    await limit_opening(exchange)
    metadata = {
        "dialect": "guide",
        "protocol_version": version,
        **opening_metadata(exchange),
    }
    session_id, session = await open_session(exchange.endpoint, exchange.owner, metadata, "stream")
    return await _guide_stream(session, session_id, None, streams.Greeting(exchange, is_new=True))


async def _resume(
    exchange: Exchange, requested: RequestedId, place: Place | None, *, is_return: bool
) -> Reply:
    """A dead session is a 404 by the specification's rules, and an event by the guide's."""
    try:
        session = await admitted_session(exchange, requested.session_id)
        if (session_id := id_for(session, requested.session_id)) is None:
            raise SessionNotFound
    except SessionNotFound:
        if not requested.by_guide or exchange.sse_path:
            raise
        return EventStream(streams.dead_chunks(requested.in_clear))
    revisions.check_session(exchange, session)
    await limit_session(exchange, session)
    if session.dialect == "guide":
        is_rotated = session_id != requested.session_id
        greeting = streams.Greeting(exchange, named=requested.in_clear, is_rotated=is_rotated)
        return await _guide_stream(session, session_id, place, greeting)
    follower = await _follow(session, place) if place or not is_return else None
    if follower is None:
        raise _no_such_place()
    _attend(session, follower, is_return=is_return)
    return EventStream(streams.specification_chunks(follower, session))


async def _guide_stream(
    session: SessionRecord, session_id: str, place: Place | None, greeting: streams.Greeting
) -> Reply:
    # A place that is gone does not keep a browser from its session: it gets an event, and a new stream.
    found = await _follow(session, place) if place else None
    follower = found or await _follow(session, None)
    assert follower is not None  # a new stream can always be followed, or SessionEnded was raised
    _attend(session, follower, is_return=not greeting.is_new)
    if follower.stream.kind == "post":
        return EventStream(streams.specification_chunks(follower, session))
    greeting = replace(greeting, is_place_gone=bool(place) and found is None)
    chunks = httpsse.chunks if greeting.exchange.sse_path else streams.guide_chunks
    return EventStream(chunks(follower, session, session_id, greeting))


async def _follow(session: SessionRecord, place: Place | None) -> Follower | None:
    """A follower at the place, or of a new GET stream; None for a place the session does not have."""
    if place is None:
        return await get_hub().connections.follow_new(session)
    return await get_hub().connections.follow_again(session, *place)


def _attend(session: SessionRecord, follower: Follower, *, is_return: bool) -> None:
    if is_return:
        queue_signal(session_resumed, session, "stream")
    touch(session, connections=1)
    if follower.stream.kind == "get":
        watch(session)


def _unseal(exchange: Exchange, last_event_id: str) -> tuple[sse.Sealed | None, Place | None]:
    """What an event id has sealed, if it is of a guide stream; the place that it names."""
    if (parsed := sse.parse_event_id(last_event_id)) is None:
        return None, None
    # Who has logged in meanwhile has an event id from before. The session's owner is checked later.
    for owner in dict.fromkeys((exchange.owner, ANONYMOUS.owner)):
        sealed = sse.unseal(parsed[0], endpoint=exchange.endpoint, owner=owner)
        if sealed is not None:
            return sealed, (sealed.stream, parsed[1])
    return None, parsed


def _no_session(last_event_id: str) -> str:
    """An event id alone that opens nothing: a plain one needs its session named, a sealed one is dead."""
    if (parsed := sse.parse_event_id(last_event_id)) and len(parsed[0]) <= PLAIN_PREFIX:
        raise RequestError(400, "This event id needs its session: send the Mcp-Session-Id header too.")
    return ""


def _no_such_place() -> RequestError:
    return RequestError(
        400,
        "No stream of this session has this Last-Event-ID. Open a new one by a GET without it.",
        data={"reason": "event_not_found"},
    )
