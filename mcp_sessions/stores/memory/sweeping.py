"""The verbs that delete what is over: events that were read, streams that were left, old news."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mcp_sessions.stores.memory.kept import Stream
from mcp_sessions.stores.memory.ringing import forget_bells
from mcp_sessions.stores.memory.transactions import Transactional


class SweepingVerbs(Transactional):
    def shorten(self, streams: Sequence[str], keep: int, before: datetime) -> int:
        with self.transaction() as state:
            # The answers in a batch's reply say which of its requests are still to be answered.
            return sum(shorten(x, keep, before) for x in state.named(streams) if len(x.request_ids) < 2)

    def sweep(self, before: datetime, limit: int) -> int:
        with self.transaction() as state:
            left = [(since, x) for x in state.streams.values() if (since := left_since(x)) and since < before]
            left.sort(key=lambda each: each[0])
            for _, stream in left[:limit]:
                state.drop_stream(stream)
            for session in state.sessions.values():
                session.messages = [m for m in session.messages if m.created_at >= before]
            forget_bells(state)
            return len(left[:limit])


def shorten(stream: Stream, keep: int, before: datetime) -> int:
    """Delete what was delivered, but for the last `keep` that are young; how many events."""
    delivered = stream.behind(stream.delivered)
    old = stream.behind(min(stream.delivered, stream.position - keep))
    young = [stored for stored in stream.events[old:delivered] if stored.created_at >= before]
    stream.events[:delivered] = young
    return delivered - len(young)


def left_since(stream: Stream) -> datetime | None:
    """Since when nobody has read or written it and nothing waits in it; None as long as somebody may."""
    is_done = stream.ended_at is not None or (stream.kind == "get" and not stream.is_waiting)
    return stream.idle_since if is_done and not stream.reader else None
