"""How much may wait in a stream that nobody reads."""

from __future__ import annotations

import json
import logging
from contextlib import suppress

from mcp_sessions.exceptions import UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.stores.memory.kept import Session, Stream
from mcp_sessions.stores.memory.records import read_metadata

logger = logging.getLogger("mcp_sessions.stores")


def drop_oldest(session: Session, stream: Stream, limit: int | None) -> None:
    """Delete what is too much among the events that wait in the stream."""
    if limit is None or not stream.is_waiting or stream.position - stream.delivered <= limit:
        return
    last = stream.position - limit
    first, end = stream.behind(stream.delivered), stream.behind(last)
    del stream.events[first:end]
    stream.delivered = stream.trimmed = last
    count_dropped(session, end - first)
    logger.warning(
        "session %s: the oldest %d messages dropped, more than MAX_PENDING (%d) wait for a stream",
        session.key,
        end - first,
        limit,
        extra=about(session.key),
    )


def count_dropped(session: Session, count: int) -> None:
    # What cannot be read stays as it is.
    with suppress(UnreadableData):
        metadata = read_metadata(session)
        session.metadata = json.dumps({**metadata, "dropped": metadata.get("dropped", 0) + count})
