"""Workers, what has changed for them, and the limits that they share, by the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Exists, Max, OuterRef, Q
from django.db.models.functions import Coalesce, Now
from django.db.models.sql.compiler import SQLCompiler

from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.models import Notification, Stream, StreamQuerySet, Worker
from mcp_sessions.records import StreamRecord, Takeover
from mcp_sessions.stores.database import deletion
from mcp_sessions.stores.database.locks import lock_streams
from mcp_sessions.stores.database.moves import leave
from mcp_sessions.stores.database.rate_limits import charge_limit
from mcp_sessions.stores.database.records import stream_records
from mcp_sessions.stores.database.statements import add_change, chunks, now_of, table
from mcp_sessions.stores.database.transactions import retried, writing


class Clock(Now):
    """The database's time. On MariaDB not that of its zone, where summer time would end every worker."""

    def as_mysql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)


class Workers:
    alias: str

    @retried
    def now(self) -> datetime:
        return now_of(connections[self.alias])

    @retried
    def enlist(self, worker: str) -> None:
        with writing(self.alias):
            # Twice is once: whether it was stored need not be known when it is tried again.
            row = Worker(name=worker, started_at=Clock(), heartbeat_at=Clock())
            Worker.objects.using(self.alias).bulk_create([row], ignore_conflicts=True)

    @retried
    def beat(self, worker: str) -> bool:
        with writing(self.alias):
            alive = Worker.objects.using(self.alias).filter(name=worker, lost_at=None)
            return bool(alive.update(heartbeat_at=Clock()))

    @retried
    def find_lost(self, timeout_seconds: float) -> Sequence[str]:
        late = Q(heartbeat_at__lt=Clock() - timedelta(seconds=timeout_seconds), lost_at=None)
        workers = Worker.objects.using(self.alias)
        if workers.filter(late).exists():
            with writing(self.alias):
                workers.filter(late).update(lost_at=Clock())
        lost = workers.exclude(lost_at=None).filter(Q(is_forgotten=False) | self._has_something())
        return list(lost.values_list("name", flat=True))

    def _has_something(self) -> Q:
        streams = Stream.objects.using(self.alias)
        written = streams.unended().filter(writer=OuterRef("name"))
        return Q(Exists(written)) | Q(Exists(streams.filter(reader=OuterRef("name"))))

    @retried
    def take_over(self, lost: str, worker: str, limit: int) -> Takeover:
        streams = Stream.objects.using(self.alias)
        with writing(self.alias) as connection:
            written = streams.unended().filter(writer=lost)
            names = list(written.values_list("name", flat=True)[:limit])
            locked = [each for each in lock_streams(connection, names) if each.writer == lost]
            streams.filter(pk__in=[each.id for each in locked]).update(writer=worker)
            # Another worker may have been quicker with these, and there may be more.
            is_done = not written.exists()
        return Takeover(len(locked), tuple(self._forget(lost)) if is_done else ())

    def _forget(self, lost: str) -> list[StreamRecord]:
        """The GET streams that it read."""
        if not Worker.objects.using(self.alias).filter(name=lost).exists():
            return []
        read = {each.name: each for each in stream_records(self._read_by(lost))}
        left = [
            name
            for names in chunks(sorted(read))
            for name in leave(self.alias, lost, names).left
            if read[name].kind == "get"
        ]
        with writing(self.alias):
            rows = Worker.objects.using(self.alias).filter(name=lost)
            rows.update(is_forgotten=True, lost_at=Coalesce("lost_at", Clock()))
        return [read[name] for name in left]

    def _read_by(self, worker: str) -> StreamQuerySet:
        return Stream.objects.using(self.alias).filter(reader=worker)

    @retried
    def leave(self, worker: str) -> None:
        mine = Stream.objects.using(self.alias).filter(Q(writer=worker) | Q(reader=worker))
        with writing(self.alias):
            row = Worker.objects.using(self.alias).filter(name=worker)
            if mine.exists():
                row.update(lost_at=Clock())
            else:
                row.delete()

    @retried
    def notify(self, names: Sequence[str]) -> None:
        with writing(self.alias) as connection:
            add_change(connection, names)

    @retried
    def changes(self, after: int) -> Sequence[tuple[int, Sequence[str]]]:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(f"SELECT id, names FROM {table(Notification)} WHERE id > %s ORDER BY id", [after])
            return [(number, names.split(" ")) for number, names in cursor.fetchall()]

    @retried
    def last_change(self, before: datetime) -> int:
        older = Notification.objects.using(self.alias).filter(created_at__lt=before).aggregate(last=Max("pk"))
        return older["last"] or 0

    @retried
    def charge(self, charge: Charge) -> Charged:
        return charge_limit(self.alias, charge)

    @retried
    def delete_unreachable(self, before: datetime, limit: int) -> int:
        return deletion.delete_unreachable(self.alias, before, limit)
