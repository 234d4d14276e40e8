"""A stream as bytes: one encoding for the specification's clients, one for the guide's."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.utils.encoding import escape_uri_path

from mcp_sessions import sse
from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import Closing, Follower, KeepAlive, Notice, Rotated, revoked_notice
from mcp_sessions.exceptions import RateLimited, RequestError
from mcp_sessions.exchange import Exchange
from mcp_sessions.lifecycle import end_if_unused
from mcp_sessions.protocol import revisions
from mcp_sessions.protocol.session_ids import SESSION_HEADER
from mcp_sessions.records import MESSAGE, PRIMING_SINCE, Event, SessionRecord
from mcp_sessions.security.redaction import ENDPOINT_PARAMETER

LAST_NOTICES = frozenset({"session-expired", "session-limit"})
"""Notices after which the connection is closed for good."""
MAX_RETRY_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 10.0
"""After an error that says no time."""
COMES_BACK = frozenset({Closing.POLLING, Closing.DRAINING, Closing.LOST, Closing.TRIMMED, Closing.ROTATED})
"""Reasons after which the client gets a time to wait before it reconnects."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a stream in the guide's dialect begins with."""

    exchange: Exchange
    is_new: bool = False
    """Whether the session was opened for this stream."""
    named: str = ""
    """The id by which the request named the session."""
    is_rotated: bool = False
    """Whether the client came with the id that the session had before a rotation."""
    is_place_gone: bool = False
    """Whether the client asked for a place that the session does not have any more."""


class Chunks:
    """A follower's stream as bytes. Closing it detaches the follower, even if nothing was asked for."""

    def __init__(
        self, follower: Follower, generator: AsyncGenerator[bytes, None], keep_alive: bytes = sse.KEEP_ALIVE
    ) -> None:
        self._follower = follower
        self._generator = generator
        self._keep_alive = keep_alive
        self.on_closed: Callable[[], None] | None = None
        """Called when it is closed, however often that is."""

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._generator)

    async def aclose(self) -> None:
        await self._generator.aclose()
        self._follower.detach()
        if self._follower.stream.kind == "get" and self._follower.session.dialect == "guide":
            end_if_unused(self._follower.session)
        if self.on_closed is not None:
            self.on_closed()

    def on_closing(self, call: Callable[[], None]) -> None:
        self._follower.on_closing = call
        if self._follower.closing is not None:
            call()

    def push_by(self, push: Callable[[bytes], bool]) -> None:
        self._follower.push_keep_alive = lambda: push(self._keep_alive)

    @property
    def is_over(self) -> bool:
        return self._follower.closing is not None or self._follower.has_ended

    def revoke(self) -> None:
        """End it: the credential it was opened with is not valid any more. A running call goes on."""
        if self._follower.session.dialect == "guide" and self._follower.stream.kind == "get":
            self._follower.notify(revoked_notice())
        self._follower.close(Closing.REVOKED)

    def stall(self) -> None:
        self._follower.close(Closing.STALLED)


class GuideVoice:
    """A guide stream's events as bytes, under the id that the session has by now."""

    def __init__(self, stream: str, session: SessionRecord, session_id: str, greeting: Greeting) -> None:
        self._stream = stream
        self._greeting = greeting
        self._go_by(session, session_id)

    def _go_by(self, session: SessionRecord, session_id: str) -> None:
        self._session, self._session_id = session, session_id
        # Where the connection's URL names the session otherwise, it will when the browser comes back.
        named = self._greeting.named if self._greeting.named != session_id else ""
        sealed = sse.Sealed(session_id, self._stream, named)
        self._prefix = sse.seal(sealed, endpoint=session.server, owner=session.owner)

    def greetings(self, position: int) -> Iterator[bytes]:
        """What the stream begins with."""
        place = sse.event_id(self._prefix, position)
        event = "session" if self._greeting.is_new else "session-resumed"
        yield sse.frame(self._session_event, event=event, id=place, retry=_first_retry(self._session.server))
        if self._greeting.is_new:
            yield self._endpoint(place)
        if self._greeting.is_rotated:
            yield from self._new_id(place)
        if self._greeting.is_place_gone:
            message = "Last-Event-ID names a place that is gone: events that came after it may be missing."
            yield sse.frame(_json(error="event_not_found", message=message), event="error", id=place)

    def rotated(self, rotated: Rotated, position: int) -> Iterator[bytes]:
        """Tell the client of the new id, by which the stream goes on."""
        self._go_by(rotated.session, rotated.session_id)
        yield from self._new_id(place := sse.event_id(self._prefix, position))
        if not self._greeting.is_new:
            yield sse.frame(self._session_event, event="session-resumed", id=place)

    def _new_id(self, place: str) -> Iterator[bytes]:
        """`session-rotated`, and then what the guide's own pages listen to, which do not know that event."""
        yield sse.frame(self._session_event, event="session-rotated", id=place)
        yield sse.frame(self._session_event, event="session", id=place)
        yield self._endpoint(place)

    def frame(self, item: Event | Notice | KeepAlive) -> bytes:
        if isinstance(item, KeepAlive):
            # EventSource shows no comments to the page, so the guide's clients get an event as well.
            return sse.KEEP_ALIVE + sse.frame("{}", event="heartbeat")
        if isinstance(item, Notice):
            # A browser that gets it does not reconnect by itself: two would replace each other for ever.
            last = sse.DEAD if item.name in LAST_NOTICES else None
            return sse.frame(_json(session_id=self._session_id, **item.fields), event=item.name, id=last)
        return sse.frame(item.data, event=item.name or MESSAGE, id=sse.event_id(self._prefix, item.position))

    def farewell(self) -> Iterator[bytes]:
        """When to come back, to a stream that goes on."""
        yield _guide_retry(self._session.server)

    @property
    def _session_event(self) -> str:
        return _json(session_id=self._session_id, expires_at=self._session.expires_at.isoformat())

    def _endpoint(self, place: str) -> bytes:
        path = escape_uri_path(self._post_path)
        return sse.frame(f"{path}?{ENDPOINT_PARAMETER}={self._session_id}", event="endpoint", id=place)

    @property
    def _post_path(self) -> str:
        """Where clients of 2024-11-05 post their messages."""
        return self._greeting.exchange.path


def specification_chunks(follower: Follower, session: SessionRecord) -> Chunks:
    """A stream for a client of the specification; the event ids name stream and position."""
    return Chunks(follower, _specification_chunks(follower, session))


def guide_chunks(follower: Follower, session: SessionRecord, session_id: str, greeting: Greeting) -> Chunks:
    """A GET stream in the guide's dialect; the event ids are sealed and find the session by themselves."""
    return voiced_chunks(follower, GuideVoice(follower.stream.name, session, session_id, greeting))


def voiced_chunks(follower: Follower, voice: GuideVoice) -> Chunks:
    return Chunks(follower, _guide_chunks(follower, voice), voice.frame(KeepAlive()))


async def _specification_chunks(follower: Follower, session: SessionRecord) -> AsyncGenerator[bytes, None]:
    options = AppSettings(session.server)
    name, takes_empty = follower.stream.name, session.protocol_version >= PRIMING_SINCE
    items = follower.items()
    try:
        if follower.position == 0 and options.PRIMING_EVENTS and takes_empty:
            yield sse.frame("", id=sse.event_id(name, 0), retry=_first_retry(session.server))
        async for item in items:
            if isinstance(item, KeepAlive):
                yield sse.KEEP_ALIVE
            elif isinstance(item, Event):
                yield sse.frame(item.data, event=item.name, id=sse.event_id(name, item.position))
        # Older clients read an event without data as JSON: they come back when they like.
        if follower.closing in COMES_BACK and takes_empty:
            yield sse.retry_frame(options.RETRY_MILLISECONDS)
    finally:
        await items.aclose()


async def _guide_chunks(follower: Follower, voice: GuideVoice) -> AsyncGenerator[bytes, None]:
    items = follower.items()
    try:
        for event in voice.greetings(follower.position):
            yield event
        async for item in items:
            if isinstance(item, Rotated):
                for event in voice.rotated(item, follower.position):
                    yield event
            else:
                yield voice.frame(item)
        if follower.closing in COMES_BACK:
            for event in voice.farewell():
                yield event
    finally:
        await items.aclose()


async def come_back(exchange: Exchange, error: RequestError | None = None) -> AsyncGenerator[bytes, None]:
    """Why, and the time after which to come back. An EventSource reconnects only after a stream.

    That is RETRY_MILLISECONDS at least. A browser keeps it, so it is never long.
    """
    if not exchange.headers.get(SESSION_HEADER):
        if error is not None:
            reason = (error.data or {}).get("reason", "unavailable")
            yield sse.frame(_json(error=reason, message=error.message), event="error")
        yield _guide_retry(exchange.endpoint, min(_seconds_until_retry(error), MAX_RETRY_SECONDS))
    elif exchange.headers.get(revisions.HEADER, "") >= PRIMING_SINCE:
        yield sse.retry_frame(AppSettings(exchange.endpoint).RETRY_MILLISECONDS)


def _seconds_until_retry(error: RequestError | None) -> float:
    if error is None:
        return 0
    if isinstance(error, RateLimited):
        return error.retry_seconds
    return float(dict(error.headers).get("Retry-After", RETRY_SECONDS))


async def dead_chunks(session_id: str) -> AsyncGenerator[bytes, None]:
    """What a guide client hears that comes with an id that opens nothing (any more)."""
    yield sse.frame(
        _json(session_id=session_id, reason="session_not_found"), event="session-expired", id=sse.DEAD
    )
    message = "Session not found: it has expired or never existed. Connect without a session id."
    yield sse.frame(_json(error="session_not_found", message=message), event="error", id=sse.DEAD)


def _first_retry(endpoint: str) -> int | None:
    options = AppSettings(endpoint)
    return options.RETRY_MILLISECONDS if options.RETRY_FIRST else None


def _guide_retry(endpoint: str, seconds: float = 0) -> bytes:
    """When to come back, on an event that 2024-11-05 clients pass over: one without data they do not."""
    retry = max(AppSettings(endpoint).RETRY_MILLISECONDS, math.ceil(seconds * 1000))
    return sse.frame("{}", event="heartbeat", retry=retry)


def _json(**fields: Any) -> str:
    return json.dumps(fields)
