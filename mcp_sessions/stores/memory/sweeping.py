"""The verbs that delete what is over: events that were read, streams that were left, old news."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mcp_sessions.stores.base import UNBOUNDED
from mcp_sessions.stores.memory.charging import forget_unused
from mcp_sessions.stores.memory.claiming import forget_outcomes
from mcp_sessions.stores.memory.kept import Stream
from mcp_sessions.stores.memory.requests import forget_overdue
from mcp_sessions.stores.memory.ringing import forget_bells
from mcp_sessions.stores.memory.rotating import forget_previous
from mcp_sessions.stores.memory.transactions import Transactional


class SweepingVerbs(Transactional):
    def trim(self, streams: Sequence[str], keep: int, before: datetime, size: int = UNBOUNDED) -> int:
        with self.transaction() as state:
            found = [stream for stream in state.named(streams) if not has_to_stay(stream)]
            return sum(trim(stream, keep, before, size) for stream in found)

    def delete_unreachable(self, before: datetime, limit: int) -> int:
        with self.transaction() as state:
            left = [(since, x) for x in state.streams.values() if (since := left_since(x)) and since < before]
            left.sort(key=lambda each: each[0])
            for _, stream in left[:limit]:
                state.drop_stream(stream)
            for session in state.sessions.values():
                forget_overdue(session)
            forget_bells(state)
            forget_unused(state)
            forget_outcomes(state)
            forget_previous(state)
            for name, worker in list(state.workers.items()):
                if worker.is_forgotten and worker.lost_at is not None and worker.lost_at < before:
                    del state.workers[name]
            return len(left[:limit])


def trim(stream: Stream, keep: int, before: datetime, size: int) -> int:
    """Delete what was delivered, up to the last event that is too old or too much; how many events."""
    last, total = 0, 0
    for stored in reversed(stream.events):
        total += len(stored.event.data)
        if stored.position <= stream.position - keep or stored.created_at < before or total > size:
            last = min(stored.position, stream.delivered)
            break
    return stream.trim(last)


def has_to_stay(stream: Stream) -> bool:
    """The answers in a batch's reply say which of its requests are still to be answered."""
    return stream.ended_at is None and len(stream.request_ids) > 1


def left_since(stream: Stream) -> datetime | None:
    """Since when nobody has read or written it and nothing waits in it; None as long as somebody may."""
    nothing_waits = stream.kind == "inbox" or (stream.kind == "get" and not stream.is_waiting)
    is_done = stream.ended_at is not None or nothing_waits
    return stream.idle_since if is_done and not stream.reader else None
