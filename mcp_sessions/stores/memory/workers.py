"""The verbs on workers, by this machine's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from mcp_sessions.records import StreamRecord, Takeover
from mcp_sessions.stores.memory.kept import Worker
from mcp_sessions.stores.memory.moving import hand_over, leave
from mcp_sessions.stores.memory.records import stream_record
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.transactions import Transactional


class WorkerVerbs(Transactional):
    def enlist(self, worker: str) -> None:
        with self.transaction() as state:
            state.workers[worker] = Worker(beat_at=timezone.now())

    def beat(self, worker: str) -> bool:
        with self.transaction() as state:
            found = state.workers.get(worker)
            if found is None or found.lost_at is not None:
                return False
            found.beat_at = timezone.now()
            return True

    def find_lost(self, timeout_seconds: float) -> Sequence[str]:
        with self.transaction() as state:
            now = timezone.now()
            for worker in state.workers.values():
                if worker.lost_at is None and worker.beat_at < now - timedelta(seconds=timeout_seconds):
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
