"""A session with what it has open: what an operator looks at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.utils import timezone

from mcp_sessions.lifecycle.lookup import look_up
from mcp_sessions.records import Entry, SessionRecord, StreamRecord, instant
from mcp_sessions.runtime import on_runtime, run_sync
from mcp_sessions.stores import get_store

MAX_STREAMS: Final = 50
"""Streams of a session, the newest, whose events are looked at."""
_LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class OpenNow:
    """How much of a session is open at an instant."""

    connections: int
    """GET streams that a client is connected to."""
    running_calls: int
    """Those that became rows."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """A session and its streams as they were `at` an instant. Nothing in it opens the session."""

    session: SessionRecord
    streams: tuple[StreamRecord, ...]
    at: datetime
    events: tuple[Entry, ...] = ()
    """The last of its streams, as many as were asked for; the newest comes first."""

    @property
    def state(self) -> str:
        """live, expired (and nobody has ended it yet) or ended."""
        if self.session.ended_at is not None:
            return "ended"
        return "live" if self.session.is_live(self.at) else "expired"

    @property
    def connections(self) -> tuple[StreamRecord, ...]:
        """The GET streams that a client is connected to."""
        return tuple(filter(is_connected, self.streams))

    @property
    def running_calls(self) -> int:
        """Those that became rows: they have sent something, or have been running for a while."""
        return sum(map(is_running, self.streams))

    @property
    def newest_streams(self) -> tuple[StreamRecord, ...]:
        return newest(self.streams)

    def as_json(self) -> dict[str, Any]:
        """All of it as values of JSON; instants in ISO 8601, in UTC."""
        session = self.session
        return {
            "key": session.key,
            "state": self.state,
            "server": session.server,
            "owner": session.owner,
            "end_reason": session.end_reason,
            **{f"{name}_at": instant(at) or None for name, at in _instants(session).items()},
            "requests": session.requests,
            "connected": session.connections,
            "connections": len(self.connections),
            "running_calls": self.running_calls,
            "metadata": dict(session.metadata),
            "data": dict(session.data),
            "streams": [_stream(each) for each in self.streams],
        }


def is_open(stream: StreamRecord) -> bool:
    return stream.ended_at is None


def is_connected(stream: StreamRecord) -> bool:
    return stream.kind == "get" and is_open(stream) and bool(stream.reader)


def is_running(stream: StreamRecord) -> bool:
    return bool(stream.writer) and is_open(stream)


def newest(streams: Iterable[StreamRecord]) -> tuple[StreamRecord, ...]:
    """Those that were opened last come first."""
    return tuple(sorted(streams, key=lambda each: each.created_at or _LONG_AGO, reverse=True))


@on_runtime
async def ainspect_session(key: str, *, events: int = 0) -> Inspection:
    """A session, live or not, by its public name or its id, with its streams (the guide's inspect_session).

    With the last `events` of its streams, if there are so many. Raises SessionNotFound.
    """
    session = await look_up(key)
    streams = tuple((await get_store().afind_streams(sessions=[session.key])).values())
    last: Sequence[Entry] = ()
    if events:
        names = [stream.name for stream in newest(streams)[:MAX_STREAMS]]
        last = await get_store().alast_events(names, events)
    return Inspection(session, streams, timezone.now(), tuple(last))


def inspect_session(key: str, *, events: int = 0) -> Inspection:
    """ainspect_session() for synchronous code."""
    return run_sync(ainspect_session(key, events=events))


def open_now(keys: Sequence[str]) -> Mapping[str, OpenNow]:
    """What is open of these sessions, by their keys: one question to the store, however many.

    Where each process has a store of its own, sessions that this one does not know are left out.
    """
    return run_sync(_open_now(keys))


async def _open_now(keys: Sequence[str]) -> Mapping[str, OpenNow]:
    store = get_store()
    if not store.shared_by_processes:
        keys = [key for key in keys if await store.aload_by_key(key) is not None]
    streams: defaultdict[str, list[StreamRecord]] = defaultdict(list)
    for stream in (await store.afind_streams(sessions=keys, only_open=True)).values():
        streams[stream.session_key].append(stream)
    return {
        key: OpenNow(sum(map(is_connected, streams[key])), sum(map(is_running, streams[key]))) for key in keys
    }


def _instants(session: SessionRecord) -> Mapping[str, datetime | None]:
    return {
        "created": session.created_at,
        "last_accessed": session.last_accessed_at,
        "expires": session.expires_at,
        "timeout": session.timeout_at,
        "ended": session.ended_at,
    }


def _stream(stream: StreamRecord) -> dict[str, Any]:
    return {
        "name": stream.name,
        "kind": stream.kind,
        "position": stream.position,
        "delivered": stream.delivered,
        "writer": stream.writer,
        "reader": stream.reader,
        "attached_at": instant(stream.attached_at) or None,
        "ended_at": instant(stream.ended_at) or None,
        "request_ids": list(stream.request_ids),
    }
