"""The verbs on who reads a stream, and how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.models import Stream, StreamEvent, StreamQuerySet
from mcp_sessions.records import Attachment, Displaced
from mcp_sessions.stores.database.locking import LockedStream, lock_session, lock_streams, set_numbers
from mcp_sessions.stores.database.streams import stream_records
from mcp_sessions.stores.database.verbs import verb, writing


class AttachingVerbs:
    alias: str

    @verb
    def attach(
        self, session_key: str, name: str, worker: str, seen: int, limit: int | None
    ) -> Attachment | None:
        with writing(self.alias) as connection:
            session = lock_session(self.alias, session_key, "pk")
            if session is None:
                raise SessionEnded("The session has ended: its streams are read no more.")
            mine = Stream.objects.using(self.alias).filter(session=session[0])
            row = mine.filter(name=name).first()
            if row is None or row.kind == "call":
                return None
            locked = lock_streams(connection, get_streams(mine, row))
            # It may have been swept before it was locked.
            target = next((stream for stream in locked if stream.name == name), None)
            if target is None or seen > target.position:
                return None
            displaced = []
            if target.reader not in ("", worker):
                since = mine.values_list("attached_at", flat=True).get(pk=row.pk)
                displaced.append(Displaced(name, target.reader, since, "replaced"))
            self._set_reader(target, worker, seen)
            if row.kind == "get" and not target.has_ended:
                others = [stream for stream in locked if stream is not target]
                move(connection, target, [s for s in others if not s.reader and s.position > s.delivered])
                displaced += self._make_room(mine, limit)
            return Attachment(next(stream_records(mine.filter(pk=row.pk))), tuple(displaced))

    def _set_reader(self, stream: LockedStream, worker: str, seen: int) -> None:
        stream.delivered = max(stream.delivered, seen)
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
    def mark_delivered(self, worker: str, positions: Mapping[str, int], *, leaving: bool = False) -> None:
        with writing(self.alias) as connection:
            mine = [stream for stream in lock_streams(connection, positions) if stream.reader == worker]
            further = {s.id: positions[s.name] for s in mine if positions[s.name] > s.delivered}
            set_numbers(connection, "delivered", further)
            if leaving and mine:
                rows = Stream.objects.using(self.alias).filter(pk__in=[stream.id for stream in mine])
                rows.update(reader="", idle_since=timezone.now())


def get_streams(mine: StreamQuerySet, row: Stream) -> set[str]:
    """What attaching to a stream concerns: if it is a GET stream, the session's others too."""
    if row.kind != "get":
        return {row.name}
    return {row.name, *mine.unended().filter(kind="get").values_list("name", flat=True)}


def move(connection: BaseDatabaseWrapper, target: LockedStream, sources: Sequence[LockedStream]) -> None:
    """Give what waits in these streams the next positions of the target."""
    if not sources:
        return
    events = StreamEvent.objects.using(connection.alias)
    behind = [Q(stream=stream.id, position__gt=stream.delivered) for stream in sources]
    waiting = list(events.filter(reduce(or_, behind)).order_by("pk").only("pk"))
    for event in waiting:
        target.position += 1
        event.stream_id, event.position = target.id, target.position
    events.bulk_update(waiting, ["stream", "position"], batch_size=100)
    set_numbers(connection, "position", {target.id: target.position})
    # Nothing waits there any more; what comes later does again.
    set_numbers(connection, "delivered", {stream.id: stream.position for stream in sources})
