"""Streams: opened, added to, read, found, trimmed; and who reads a stream, and how far."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from django.db import IntegrityError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.models import Notification, Session, Stream, StreamEvent, StreamQuerySet
from mcp_sessions.records import (
    Attachment,
    BatchItem,
    Displaced,
    Entry,
    Event,
    Inbound,
    Placed,
    Reading,
    StreamKind,
    StreamRecord,
)
from mcp_sessions.stores.base import UNBOUNDED, fitting
from mcp_sessions.stores.database import deletion
from mcp_sessions.stores.database.batches import store_batch
from mcp_sessions.stores.database.inbox import read_unopened, unopened_inboxes
from mcp_sessions.stores.database.locks import LockedStream, lock_session, lock_streams
from mcp_sessions.stores.database.moves import delete_left, displace_oldest, get_streams, leave, move
from mcp_sessions.stores.database.records import stream_records
from mcp_sessions.stores.database.statements import chunks, fetch, insert, now_of, set_numbers, table
from mcp_sessions.stores.database.transactions import bounded_wait, commits_alone, retried, writing

TAKEN: Final = "A stream with this name is already there."
STORED_BEFORE: Final = "A batch with this token was stored already."
_EVENT: Final = ("position", "name", "data")


class Streams:
    alias: str

    def _streams(self) -> StreamQuerySet:
        return Stream.objects.using(self.alias)

    @retried
    def open_stream(
        self,
        session_key: str,
        name: str,
        kind: StreamKind,
        worker: str = "",
        request_ids: Sequence[int | str] = (),
    ) -> StreamRecord:
        row = new_stream(name, kind, writer=worker, request_ids=json.dumps(request_ids))
        with writing(self.alias):
            found = lock_session(self.alias, session_key, "id")
            if found is not None:
                row.session_id = found[0]
                save_new(self.alias, row)
        if found is None:
            raise SessionEnded("The session has ended: it gets no new stream.")
        ids = tuple(request_ids)
        return StreamRecord(
            name, session_key, kind, 0, 0, None, ids, row.writer, row.reader, None, row.created_at
        )

    @retried
    def append(self, batch: Sequence[BatchItem], token: str = "") -> list[Placed]:
        stored = Notification.objects.using(self.alias).filter(token=token)
        try:
            with writing(self.alias) as connection:
                placed = store_batch(connection, batch, timezone.now(), token)
        except IntegrityError as error:
            if not stored.exists():
                raise
            raise DuplicateIdentifier(STORED_BEFORE) from error
        # What has ended streams is refused when it comes again, and has no second change.
        if token and not any(placed) and stored.exists():
            raise DuplicateIdentifier(STORED_BEFORE)
        return placed

    @retried
    def read(
        self, stream: str, after: int, limit: int, size: int = UNBOUNDED, *, worker: str = ""
    ) -> Reading | None:
        if worker:
            return self._take(stream, worker, after, limit, size)
        found = self._look(stream, after, limit, size)
        return read_unopened(self.alias, stream) if found is None else found[0]

    def _take(self, stream: str, worker: str, after: int, limit: int, size: int) -> Reading | None:
        while (found := self._look(stream, after, limit, size)) is not None:
            reading, reader, delivered = found
            if reader != worker:
                return Reading((), is_estranged=True)
            last = max([delivered, *(event.position for event in reading.events[-1:])])
            if last == delivered or self._set_delivered(stream, worker, delivered, last):
                return reading
        return None

    def _set_delivered(self, stream: str, worker: str, before: int, last: int) -> bool:
        """False if somebody has moved events, or given them back, since they were read."""
        with bounded_wait(self.alias):
            mine = self._streams().filter(name=stream, reader=worker, delivered=before)
            return bool(mine.update(delivered=last))

    def _look(self, stream: str, after: int, limit: int, size: int) -> tuple[Reading, str, int] | None:
        """What there is, and, as it was at that moment, who reads the stream and how far it was delivered."""
        connection = connections[self.alias]
        # In PostgreSQL this is known without having read what it is of.
        length = "OCTET_LENGTH(e.data)" if connection.vendor == "postgresql" else "LENGTH(e.data)"
        # Large data is left out, so that no answer has more than `size`.
        rows = fetch(
            connection,
            "SELECT s.position, s.ended_at IS NOT NULL, s.trimmed, s.reader, s.delivered,"
            f" {length}, e.position, e.name, CASE WHEN {length} <= %s THEN e.data END FROM {table(Stream)} s"
            f" LEFT JOIN {table(StreamEvent)} e ON e.stream_id = s.id AND e.position > %s"
            " WHERE s.name = %s ORDER BY e.position LIMIT %s",
            [size // limit, after, stream, limit],
        )
        if not rows:
            return None
        position, has_ended, trimmed, reader, delivered = rows[0][:5]
        found = [row[5:] for row in rows if row[6] is not None]
        count = fitting((row[0] for row in found), size)
        events = [Event(*row[1:]) for row in found[:count]]
        if any(event.data is None for event in events):
            events = self._read_large(stream, after, events[-1].position)
        end = position if has_ended else None
        is_cut = count < len(found)
        reading = Reading(tuple(events), end, is_cut=is_cut, trimmed=trimmed, position=position)
        return reading, reader, delivered

    def _read_large(self, stream: str, after: int, last: int) -> list[Event]:
        rows = StreamEvent.objects.using(self.alias).filter(stream__name=stream)
        page = rows.filter(position__gt=after, position__lte=last).order_by("position")
        return [Event(*row) for row in page.values_list(*_EVENT)]

    @retried
    def find_streams(
        self,
        names: Sequence[str] = (),
        *,
        sessions: Sequence[str] = (),
        writers: Sequence[str] = (),
        only_open: bool = False,
    ) -> Mapping[str, StreamRecord]:
        rows = self._streams().unended() if only_open else self._streams()
        found = self._records(rows, "name", names)
        found |= self._records(rows.exclude(kind="inbox"), "session__key", sessions)
        found |= self._records(rows.unended(), "writer", writers)
        for some in chunks([name for name in names if name not in found]):
            found |= unopened_inboxes(self.alias, some)
        return dict(sorted(found.items()))

    def _records(self, rows: StreamQuerySet, column: str, values: Sequence[str]) -> dict[str, StreamRecord]:
        found: dict[str, StreamRecord] = {}
        for some in chunks(values):
            records = stream_records(rows.filter(**{f"{column}__in": some}))
            found.update((record.name, record) for record in records)
        return found

    @retried
    def last_events(self, streams: Sequence[str], limit: int) -> Sequence[Entry]:
        found: list[Entry] = []
        for chunk in chunks(streams):
            rows = StreamEvent.objects.using(self.alias).filter(
                stream__name__in=chunk, position__gt=F("stream__position") - limit
            )
            newest = rows.order_by("-created_at", "-position")[:limit]
            for name, at, *event in newest.values_list("stream__name", "created_at", *_EVENT):
                found.append(Entry(name, Event(*event), at))
        return sorted(found, key=attrgetter("at"), reverse=True)[:limit]

    @retried
    def attach(
        self,
        session_key: str,
        name: str,
        worker: str,
        seen: int,
        limit: int | None,
        *,
        is_new: bool = False,
        keep: int | None = None,
    ) -> Attachment | None:
        if is_new and (opened := open_alone(connections[self.alias], session_key, name, worker)):
            return Attachment(opened)
        with writing(self.alias) as connection:
            session = lock_session(self.alias, session_key, "id")
            if session is None:
                raise SessionEnded("The session has ended: its streams are read no more.")
            others = get_streams(connection, [session[0]])[session[0]]
            if is_new and not others:
                return Attachment(open_read(connection, session[0], session_key, name, worker))
            mine = Stream.objects.using(self.alias).filter(session=session[0])
            # `open_alone` may have opened it, and not found it alone. Then somebody may have displaced it.
            is_open = name in others and mine.filter(name=name, reader__in=["", worker]).exists()
            if is_new and not is_open:
                save_new(self.alias, new_stream(name, "get", session_id=session[0]))
            row = mine.filter(name=name).first()
            if row is None or row.kind not in ("get", "post"):
                return None
            # If it is a GET stream, it concerns the session's others too.
            names = [each for each in others if each != name] if row.kind == "get" else []
            locked = {stream.name: stream for stream in lock_streams(connection, {name, *names})}
            # It may have been deleted before it was locked.
            target = locked.get(name)
            if target is None or not target.trimmed <= seen <= target.position:
                return None
            displaced = []
            if target.reader not in ("", worker):
                since = mine.values_list("attached_at", flat=True).get(pk=row.pk)
                displaced.append(Displaced(name, target.reader, since, "replaced"))
            target.delivered = max(target.delivered, seen) if row.kind == "get" else seen
            self._set_reader(target, worker, now_of(connection))
            if row.kind == "get" and not target.has_ended:
                siblings = [locked[each] for each in names if each in locked]
                # To which messages went until now.
                newest = [stream for stream in siblings if stream.reader][-1:]
                displaced += displace_oldest(connection, siblings, limit)
                move(connection, target, [each for each in siblings if not each.reader or each in newest])
                delete_left(connection, siblings, keep)
            if displaced:
                messages = [Inbound(session_key, json.dumps(each.message)) for each in displaced]
                store_batch(connection, messages, timezone.now())
            return Attachment(next(stream_records(mine.filter(pk=row.pk))), tuple(displaced))

    def _set_reader(self, stream: LockedStream, worker: str, now: datetime) -> None:
        """The session is locked, so the stream that was attached last is the newest, by the store's clock."""
        Stream.objects.using(self.alias).filter(pk=stream.id).update(
            reader=worker, attached_at=now, idle_since=None, delivered=stream.delivered
        )

    @retried
    def mark_delivered(
        self, worker: str, positions: Mapping[str, int], *, leaving: bool = False
    ) -> Sequence[str]:
        if leaving:
            some = chunks(sorted(positions))
            return [each for names in some for each in leave(self.alias, worker, names, positions).moved]
        with writing(self.alias) as connection:
            locked = lock_streams(connection, positions)
            further = {
                stream.id: positions[stream.name]
                for stream in locked
                if stream.reader == worker and positions[stream.name] > stream.delivered
            }
            set_numbers(connection, "delivered", further)
        return []

    @retried
    def trim(self, streams: Sequence[str], keep: int, before: datetime, size: int = UNBOUNDED) -> int:
        return deletion.trim(self.alias, streams, keep, before, size)


def new_stream(name: str, kind: StreamKind, writer: str = "", **values: Any) -> Stream:
    """What nobody reads or writes is idle from the start; a POST's reply is being read."""
    now = timezone.now()
    reader, idle_since = (writer, None) if kind == "post" else ("", None if writer else now)
    roles = {"writer": writer, "reader": reader, "idle_since": idle_since}
    return Stream(name=name, kind=kind, created_at=now, **roles, **values)


def open_read(
    connection: BaseDatabaseWrapper, session: int, key: str, name: str, worker: str
) -> StreamRecord:
    """A new GET stream that the worker reads from the start. Most streams open like this."""
    adapt, attached_at = connection.ops.adapt_datetimefield_value, now_of(connection)
    row = {
        "name": name,
        "session_id": session,
        "kind": "get",
        "reader": worker,
        "position": 0,
        "delivered": 0,
        "attached_at": adapt(attached_at),
        "created_at": adapt(created_at := timezone.now()),
    }
    try:
        insert(connection, Stream, row)
    except IntegrityError as error:
        raise DuplicateIdentifier(TAKEN) from error
    return StreamRecord(name, key, "get", reader=worker, attached_at=attached_at, created_at=created_at)


def open_alone(connection: BaseDatabaseWrapper, key: str, name: str, worker: str) -> StreamRecord | None:
    """A new GET stream of a session that has no other; None if that is not certain.

    PostgreSQL opens it by one statement, which locks the session. That statement does not see a stream that
    another process has opened meanwhile, and the next one does.
    """
    if not commits_alone(connection):
        return None
    session, streams, quoted = table(Session), table(Stream), connection.ops.quote_name("key")
    open_get = "kind = 'get' AND ended_at IS NULL"
    created_at = timezone.now()
    try:
        opened = fetch(
            connection,
            f"WITH s AS (SELECT id FROM {session} WHERE {quoted} = %s AND ended_at IS NULL FOR SHARE)"
            f" INSERT INTO {streams} (name, session_id, kind, reader, position, delivered, attached_at,"
            " created_at) SELECT %s, s.id, 'get', %s, 0, 0, statement_timestamp(), %s FROM s"
            f" WHERE NOT EXISTS (SELECT FROM {streams} o WHERE o.session_id = s.id AND {open_get})"
            " RETURNING session_id, attached_at",
            [key, name, worker, created_at],
        )
    except IntegrityError as error:
        raise DuplicateIdentifier(TAKEN) from error
    for session_id, attached_at in opened:
        if get_streams(connection, [session_id])[session_id] == [name]:
            return StreamRecord(
                name, key, "get", reader=worker, attached_at=attached_at, created_at=created_at
            )
    return None


def save_new(alias: str, row: Stream) -> None:
    try:
        row.save(using=alias, force_insert=True)
    except IntegrityError as error:
        raise DuplicateIdentifier(TAKEN) from error
