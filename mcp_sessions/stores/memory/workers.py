"""Workers, what has changed for them, the limits that they share, and what is deleted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile

from django.utils import timezone

from mcp_sessions import gcra
from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.records import StreamRecord, Takeover
from mcp_sessions.stores.memory.claims import forget_outcomes
from mcp_sessions.stores.memory.data import forget_overdue
from mcp_sessions.stores.memory.kept import Stream, Worker
from mcp_sessions.stores.memory.records import stream_record
from mcp_sessions.stores.memory.sessions import forget_previous
from mcp_sessions.stores.memory.state import State, Transactional
from mcp_sessions.stores.memory.streams import hand_over, leave


class Workers(Transactional):
    def enlist(self, worker: str) -> None:
        with self.transaction() as state:
            state.workers[worker] = Worker(heartbeat_at=timezone.now())

    def beat(self, worker: str) -> bool:
        with self.transaction() as state:
            found = state.workers.get(worker)
            if found is None or found.lost_at is not None:
                return False
            found.heartbeat_at = timezone.now()
            return True

    def find_lost(self, timeout_seconds: float) -> Sequence[str]:
        with self.transaction() as state:
            now = timezone.now()
            for worker in state.workers.values():
                if worker.lost_at is None and worker.heartbeat_at < now - timedelta(seconds=timeout_seconds):
                    worker.lost_at = now
            busy = {each for stream in state.streams.values() for each in (stream.writer, stream.reader)}
            lost = ((name, each) for name, each in state.workers.items() if each.lost_at is not None)
            return [name for name, each in lost if not each.is_forgotten or name in busy]

    def take_over(self, lost: str, worker: str, limit: int) -> Takeover:
        with self.transaction() as state:
            written = [stream for stream in state.streams.values() if stream.writer == lost]
            for stream in written[:limit]:
                stream.writer = worker
            left = forget(state, lost) if len(written) <= limit else ()
            return Takeover(len(written[:limit]), left)

    def leave(self, worker: str) -> None:
        with self.transaction() as state:
            mine = (stream for stream in state.streams.values() if worker in (stream.writer, stream.reader))
            if worker in state.workers and any(mine):
                state.workers[worker].lost_at = timezone.now()
            else:
                state.workers.pop(worker, None)

    def notify(self, names: Sequence[str]) -> None:
        with self.transaction() as state:
            state.notify(names)

    def changes(self, after: int) -> Sequence[tuple[int, Sequence[str]]]:
        with self.transaction() as state:
            new = takewhile(lambda change: change.number > after, reversed(state.changes))
            return [(change.number, list(change.names)) for change in new][::-1]

    def last_change(self, before: datetime) -> int:
        with self.transaction() as state:
            return next((change.number for change in reversed(state.changes) if change.at < before), 0)

    def charge(self, charge: Charge) -> Charged:
        with self.transaction() as state:
            tat = state.rate_limits.get(charge.name, 0)
            state.rate_limits[charge.name], charged = gcra.charge(tat, microseconds(), charge)
            return charged

    def delete_unreachable(self, before: datetime, limit: int) -> int:
        with self.transaction() as state:
            left = [(since, x) for x in state.streams.values() if (since := left_since(x)) and since < before]
            left.sort(key=lambda each: each[0])
            for _, stream in left[:limit]:
                state.drop_stream(stream)
            for session in state.sessions.values():
                forget_overdue(session)
            state.forget_changes()
            forget_unused(state)
            forget_outcomes(state)
            forget_previous(state)
            for name, worker in list(state.workers.items()):
                if worker.is_forgotten and worker.lost_at is not None and worker.lost_at < before:
                    del state.workers[name]
            return len(left[:limit])


def forget(state: State, lost: str) -> tuple[StreamRecord, ...]:
    """The lost worker reads nothing any more; the GET streams that it read."""
    if (worker := state.workers.get(lost)) is None:
        return ()
    worker.lost_at, worker.is_forgotten = worker.lost_at or timezone.now(), True
    read = [stream for stream in state.streams.values() if stream.reader == lost]
    records = tuple(stream_record(stream) for stream in read if stream.kind == "get")
    leave(read)
    hand_over(state, read)
    return records


def forget_unused(state: State) -> None:
    now = microseconds()
    state.rate_limits = {name: tat for name, tat in state.rate_limits.items() if tat > now}


def microseconds() -> int:
    return time.time_ns() // 1000


def left_since(stream: Stream) -> datetime | None:
    """Since when nobody has read or written it and nothing waits in it; None as long as somebody may."""
    nothing_waits = stream.kind == "inbox" or (stream.kind == "get" and not stream.is_waiting)
    is_done = stream.ended_at is not None or nothing_waits
    return stream.idle_since if is_done and not stream.reader else None
