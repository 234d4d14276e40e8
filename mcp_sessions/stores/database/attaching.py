"""The verbs on who reads a stream, and how far."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.models import Stream, StreamQuerySet
from mcp_sessions.records import Attachment, Displaced
from mcp_sessions.stores.database.inboxes import put
from mcp_sessions.stores.database.locking import LockedStream, lock_session, lock_streams, set_numbers
from mcp_sessions.stores.database.moving import get_streams, hand_over, leave, move
from mcp_sessions.stores.database.ringing import ring
from mcp_sessions.stores.database.streams import stream_records
from mcp_sessions.stores.database.verbs import verb, writing


class AttachingVerbs:
    alias: str

    @verb
    def attach(
        self, session_key: str, name: str, worker: str, seen: int, limit: int | None
    ) -> Attachment | None:
        with writing(self.alias) as connection:
            session = lock_session(self.alias, session_key, "id", "inbox")
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
                move(connection, target, others)
                displaced += self._make_room(mine, limit)
            if displaced:
                put(self.alias, session[0], session[1], [json.dumps(each.message) for each in displaced])
                at = connection.ops.adapt_datetimefield_value(timezone.now())
                ring(connection, [session_key], at)
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
    def mark_delivered(
        self, worker: str, positions: Mapping[str, int], *, leaving: bool = False
    ) -> Sequence[str]:
        with writing(self.alias) as connection:
            mine = [stream for stream in lock_streams(connection, positions) if stream.reader == worker]
            further = {s.id: positions[s.name] for s in mine if positions[s.name] > s.delivered}
            set_numbers(connection, "delivered", further)
            if leaving:
                leave(connection, mine)
        return self._hand_over(positions) if leaving else []

    @verb
    def _hand_over(self, left: Iterable[str]) -> Sequence[str]:
        return hand_over(self.alias, left)
