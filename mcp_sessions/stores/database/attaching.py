"""The verbs on who reads a stream, and how far."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.models import Stream, StreamQuerySet
from mcp_sessions.records import Attachment, Displaced
from mcp_sessions.stores.database.inboxes import put
from mcp_sessions.stores.database.locking import (
    LockedStream,
    chunks,
    lock_session,
    lock_streams,
    set_numbers,
)
from mcp_sessions.stores.database.moving import leave, move
from mcp_sessions.stores.database.ringing import ring
from mcp_sessions.stores.database.streams import new_stream, save_new, stream_records
from mcp_sessions.stores.database.verbs import verb, writing


class AttachingVerbs:
    alias: str

    @verb
    def attach(
        self,
        session_key: str,
        name: str,
        worker: str,
        seen: int,
        limit: int | None,
        *,
        is_new: bool = False,
    ) -> Attachment | None:
        with writing(self.alias) as connection:
            session = lock_session(self.alias, session_key, "id", "inbox")
            if session is None:
                raise SessionEnded("The session has ended: its streams are read no more.")
            if is_new:
                save_new(self.alias, new_stream(name, "get", session_id=session[0]))
            mine = Stream.objects.using(self.alias).filter(session=session[0])
            row = mine.filter(name=name).first()
            if row is None or row.kind == "call":
                return None
            locked = lock_streams(connection, names_with(mine, row))
            # It may have been swept before it was locked.
            target = next((stream for stream in locked if stream.name == name), None)
            if target is None or not target.trimmed <= seen <= target.position:
                return None
            displaced = []
            if target.reader not in ("", worker):
                since = mine.values_list("attached_at", flat=True).get(pk=row.pk)
                displaced.append(Displaced(name, target.reader, since, "replaced"))
            target.delivered = max(target.delivered, seen) if row.kind == "get" else seen
            self._set_reader(target, worker)
            if row.kind == "get" and not target.has_ended:
                others = [stream for stream in locked if stream is not target]
                move(connection, target, others)
                displaced += self._make_room(mine, limit)
            if displaced:
                put(self.alias, session[0], session[1], [json.dumps(each.message) for each in displaced])
                at = connection.ops.adapt_datetimefield_value(timezone.now())
                ring(connection, [session_key], at)
            return Attachment(next(stream_records(mine.filter(pk=row.pk))), tuple(displaced))

    def _set_reader(self, stream: LockedStream, worker: str) -> None:
        Stream.objects.using(self.alias).filter(pk=stream.id).update(
            reader=worker, attached_at=timezone.now(), idle_since=None, delivered=stream.delivered
        )

    def _make_room(self, mine: StreamQuerySet, limit: int | None) -> Sequence[Displaced]:
        """Nobody reads the session's oldest GET streams any more; the one just attached is the newest."""
        read = mine.unended().filter(kind="get").exclude(reader="").order_by("attached_at", "pk")
        excess = list(read)[:-limit] if limit is not None else []
        if excess:
            mine.filter(pk__in=[row.pk for row in excess]).update(reader="", idle_since=timezone.now())
        return [Displaced(row.name, row.reader, row.attached_at, "limit") for row in excess]

    @verb
    def mark_delivered(
        self, worker: str, positions: Mapping[str, int], *, leaving: bool = False
    ) -> Sequence[str]:
        def marking(connection: BaseDatabaseWrapper, streams: Sequence[LockedStream]) -> None:
            mark(connection, streams, positions)

        if leaving:
            some = chunks(sorted(positions))
            return [name for names in some for name in leave(self.alias, worker, names, marking).moved]
        with writing(self.alias) as connection:
            locked = lock_streams(connection, positions)
            mark(connection, [stream for stream in locked if stream.reader == worker], positions)
        return []


def names_with(mine: StreamQuerySet, row: Stream) -> set[str]:
    """What attaching to a stream concerns: if it is a GET stream, the session's others too."""
    if row.kind != "get":
        return {row.name}
    return {row.name, *mine.unended().filter(kind="get").values_list("name", flat=True)}


def mark(
    connection: BaseDatabaseWrapper, streams: Iterable[LockedStream], positions: Mapping[str, int]
) -> None:
    """Streams were sent as far as this; it only moves forward."""
    further = [stream for stream in streams if positions[stream.name] > stream.delivered]
    for stream in further:
        stream.delivered = positions[stream.name]
    set_numbers(connection, "delivered", {stream.id: stream.delivered for stream in further})
