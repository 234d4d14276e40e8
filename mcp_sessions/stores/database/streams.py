"""The verbs on streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_

from django.db import IntegrityError, connections
from django.db.models import F, Q
from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.models import Stream, StreamEvent, StreamQuerySet
from mcp_sessions.records import Append, Event, StreamKind, StreamRecord
from mcp_sessions.stores.database.appending import give_positions, write
from mcp_sessions.stores.database.locking import LockedStream, lock_session, lock_streams, set_numbers
from mcp_sessions.stores.database.verbs import table, verb, writing


class StreamVerbs:
    alias: str

    def _streams(self, session_key: str) -> StreamQuerySet:
        return Stream.objects.using(self.alias).filter(session__key=session_key)

    @verb
    def open_stream(self, session_key: str, name: str, kind: StreamKind) -> StreamRecord:
        try:
            with writing(self.alias):
                found = lock_session(self.alias, session_key, "pk")
                if found is not None:
                    row = Stream(name=name, session_id=found[0], kind=kind, created_at=timezone.now())
                    row.save(using=self.alias, force_insert=True)
        except IntegrityError as error:
            raise DuplicateIdentifier("A stream with this name is already there.") from error
        if found is None:
            raise SessionEnded("The session has ended: it gets no new stream.")
        return StreamRecord(name=name, session_key=session_key, kind=kind)

    @verb
    def find_stream(self, session_key: str, name: str) -> StreamRecord | None:
        return newest(self._streams(session_key).filter(name=name), session_key)

    @verb
    def newest_stream(self, session_key: str, kind: StreamKind) -> StreamRecord | None:
        return newest(self._streams(session_key).unended().filter(kind=kind), session_key)

    @verb
    def append(self, batch: Sequence[Append]) -> list[int | None]:
        with writing(self.alias) as connection:
            locked = lock_streams(connection, {item.stream for item in batch})
            addition = give_positions(batch, locked)
            write(connection, addition, timezone.now())
        return addition.positions

    @verb
    def read(self, stream: str, after: int, limit: int) -> list[Event]:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(
                f"SELECT e.position, e.name, e.data FROM {table(Stream)} s"
                f" JOIN {table(StreamEvent)} e ON e.stream_id = s.id"
                " WHERE s.name = %s AND e.position > %s ORDER BY e.position LIMIT %s",
                [stream, after, limit],
            )
            return [Event(*row) for row in cursor.fetchall()]

    @verb
    def mark_delivered(self, positions: Mapping[str, int]) -> None:
        with writing(self.alias) as connection:
            streams = lock_streams(connection, positions)
            further = {s.id: positions[s.name] for s in streams if positions[s.name] > s.delivered}
            set_numbers(connection, "delivered", further)

    @verb
    def take_over(self, session_key: str, to: str, open_streams: Sequence[str]) -> int:
        with writing(self.alias) as connection:
            mine = self._streams(session_key).filter(Q(name=to) | Q(position__gt=F("delivered")), kind="get")
            names = set(mine.values_list("name", flat=True)) - (set(open_streams) - {to})
            streams = lock_streams(connection, names)
            target = next((stream for stream in streams if stream.name == to), None)
            if target is None or target.has_ended:
                return 0
            return self._move(target, [s for s in streams if s.name != to and s.position > s.delivered])

    def _move(self, target: LockedStream, sources: Sequence[LockedStream]) -> int:
        """Give what waits in these streams the next positions of the target."""
        connection = connections[self.alias]
        events = StreamEvent.objects.using(self.alias)
        behind = [Q(stream=stream.id, position__gt=stream.delivered) for stream in sources]
        waiting = list(events.filter(reduce(or_, behind, Q(pk__in=[]))).order_by("pk").only("pk"))
        for event in waiting:
            target.position += 1
            event.stream_id, event.position = target.id, target.position
        events.bulk_update(waiting, ["stream", "position"], batch_size=100)
        set_numbers(connection, "position", {target.id: target.position})
        # Nothing waits there any more; what comes later does again.
        set_numbers(connection, "delivered", {stream.id: stream.position for stream in sources})
        return len(waiting)


def newest(streams: StreamQuerySet, session_key: str) -> StreamRecord | None:
    """The one that was opened last of a session's streams."""
    row = streams.order_by("-pk").first()
    if row is None:
        return None
    return StreamRecord(
        name=row.name,
        session_key=session_key,
        kind="get" if row.kind == "get" else "post",
        position=row.position,
        delivered=row.delivered,
        ended_at=row.ended_at,
    )
