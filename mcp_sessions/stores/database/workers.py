"""The verbs on workers, by the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from mcp_sessions.models import Stream, Worker
from mcp_sessions.records import StreamRecord
from mcp_sessions.stores.database.locking import chunks, lock_streams
from mcp_sessions.stores.database.streams import stream_record
from mcp_sessions.stores.database.verbs import verb, writing


class WorkerVerbs:
    alias: str

    @verb
    def enlist(self, worker: str) -> None:
        with writing(self.alias):
            Worker.objects.using(self.alias).create(name=worker, started_at=Now(), beat_at=Now())

    @verb
    def beat(self, worker: str) -> bool:
        with writing(self.alias):
            alive = Worker.objects.using(self.alias).filter(name=worker, lost_at=None)
            return bool(alive.update(beat_at=Now()))

    @verb
    def find_lost(self, timeout_seconds: float) -> Sequence[str]:
        late = Q(beat_at__lt=Now() - timedelta(seconds=timeout_seconds))
        workers = Worker.objects.using(self.alias)
        if not workers.filter(late | Q(lost_at__isnull=False)).exists():
            return []
        with writing(self.alias):
            workers.filter(late, lost_at=None).update(lost_at=Now())
            return list(workers.exclude(lost_at=None).values_list("name", flat=True))

    @verb
    def inherit(self, lost: str, heir: str, limit: int) -> int:
        streams = Stream.objects.using(self.alias)
        with writing(self.alias) as connection:
            names = streams.unended().filter(writer=lost).values_list("name", flat=True)[:limit]
            locked = [each for each in lock_streams(connection, list(names)) if each.writer == lost]
            streams.filter(pk__in=[each.id for each in locked]).update(writer=heir)
        if not locked:
            self._forget(lost)
        return len(locked)

    def _forget(self, lost: str) -> None:
        read = list(Stream.objects.using(self.alias).filter(reader=lost).values_list("name", flat=True))
        for chunk in chunks(read):
            with writing(self.alias) as connection:
                ids = [each.id for each in lock_streams(connection, chunk) if each.reader == lost]
                rows = Stream.objects.using(self.alias).filter(pk__in=ids)
                rows.update(reader="", idle_since=timezone.now())
        with writing(self.alias):
            Worker.objects.using(self.alias).filter(name=lost).delete()

    @verb
    def written_by(self, workers: Sequence[str]) -> Sequence[StreamRecord]:
        rows = Stream.objects.using(self.alias).unended().filter(writer__in=workers)
        rows = rows.select_related("session").defer("session__data", "session__metadata")
        return [stream_record(row, row.session.key) for row in rows]

    @verb
    def leave(self, worker: str) -> None:
        mine = Stream.objects.using(self.alias).filter(Q(writer=worker) | Q(reader=worker))
        with writing(self.alias):
            row = Worker.objects.using(self.alias).filter(name=worker)
            if mine.exists():
                row.update(lost_at=Now())
            else:
                row.delete()
