"""How much may wait in a stream that nobody reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import UnreadableData
from mcp_sessions.stores.memory.kept import Session, Stream
from mcp_sessions.stores.memory.records import read_metadata
from mcp_sessions.stores.pending import log_dropped, may_be_too_much


class Limits(NamedTuple):
    """MAX_PENDING and MAX_PENDING_BYTES of an endpoint."""

    events: int | None
    size: int | None

    @classmethod
    def of(cls, server: str) -> Limits:
        options = AppSettings(server)
        return cls(options.MAX_PENDING, options.MAX_PENDING_BYTES)


def drop_oldest(session: Session, stream: Stream, limits: Limits, added: Sequence[int]) -> None:
    """Delete what is too much among the events that wait in the stream, once these sizes were added."""
    if not stream.is_waiting:
        return
    last = stream.delivered if limits.events is None else stream.position - limits.events
    if limits.size is not None and may_be_too_much(stream.position, len(added), sum(added), limits.size):
        last = max(last, _last_too_large(stream, limits.size))
    if last <= stream.delivered:
        return
    first, end = stream.behind(stream.delivered), stream.behind(last)
    del stream.events[first:end]
    stream.delivered = stream.trimmed = last
    count_dropped(session, end - first)
    log_dropped(session.key, session.server, end - first)


def _last_too_large(stream: Stream, limit: int) -> int:
    """The position of the last event with which those behind it have too much data; 0 if none has."""
    size = 0
    for stored in reversed(stream.events[stream.behind(stream.delivered) :]):
        size += len(stored.event.data)
        if size > limit:
            return stored.position
    return 0


def count_dropped(session: Session, count: int) -> None:
    # What cannot be read stays as it is.
    with suppress(UnreadableData):
        metadata = read_metadata(session)
        session.metadata = json.dumps({**metadata, "dropped": metadata.get("dropped", 0) + count})
