"""The verbs on who reads a stream, and how far."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.models import Stream, StreamEvent
from mcp_sessions.records import Attachment, Displaced, Inbound
from mcp_sessions.stores.database.locking import (
    LockedStream,
    chunks,
    delete_rows,
    lock_session,
    lock_streams,
    set_numbers,
)
from mcp_sessions.stores.database.moving import get_streams, leave, move, set_unread
from mcp_sessions.stores.database.sending import store_batch
from mcp_sessions.stores.database.statements import now_of
from mcp_sessions.stores.database.streams import new_stream, open_read, save_new, stream_records
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
        keep: int | None = None,
    ) -> Attachment | None:
        with writing(self.alias) as connection:
            session = lock_session(self.alias, session_key, "id")
            if session is None:
                raise SessionEnded("The session has ended: its streams are read no more.")
            others = get_streams(connection, [session[0]])[session[0]]
            if is_new and not others:
                return Attachment(open_read(connection, session[0], session_key, name, worker))
            if is_new:
                save_new(self.alias, new_stream(name, "get", session_id=session[0]))
            mine = Stream.objects.using(self.alias).filter(session=session[0])
            row = mine.filter(name=name).first()
            if row is None or row.kind not in ("get", "post"):
                return None
            # If it is a GET stream, it concerns the session's others too.
            names = [each for each in others if each != name] if row.kind == "get" else []
            locked = {stream.name: stream for stream in lock_streams(connection, {name, *names})}
            # It may have been swept before it was locked.
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
                displaced += self._make_room(connection, siblings, limit)
                move(connection, target, [each for each in siblings if not each.reader or each in newest])
                drop_left(connection, siblings, keep)
            if displaced:
                told = [Inbound(session_key, json.dumps(each.message)) for each in displaced]
                store_batch(connection, told, timezone.now())
            return Attachment(next(stream_records(mine.filter(pk=row.pk))), tuple(displaced))

    def _set_reader(self, stream: LockedStream, worker: str, now: datetime) -> None:
        """Under the session's lock: whoever attaches last is the newest, whatever the worker's clock says."""
        Stream.objects.using(self.alias).filter(pk=stream.id).update(
            reader=worker, attached_at=now, idle_since=None, delivered=stream.delivered
        )

    def _make_room(
        self, connection: BaseDatabaseWrapper, others: Sequence[LockedStream], limit: int | None
    ) -> Sequence[Displaced]:
        """Nobody reads the session's oldest GET streams any more; the one just attached is the newest."""
        read = [stream for stream in others if stream.reader]
        excess = read[: max(0, len(read) + 1 - limit)] if limit else []
        rows = Stream.objects.using(self.alias).filter(pk__in=[stream.id for stream in excess])
        since = dict(rows.values_list("pk", "attached_at"))
        displaced = [Displaced(each.name, each.reader, since[each.id], "limit") for each in excess]
        set_unread(connection, excess)
        return displaced

    @verb
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


def drop_left(connection: BaseDatabaseWrapper, others: Iterable[LockedStream], keep: int | None) -> None:
    """Of the streams that nobody reads, and that nothing waits in any more, only the newest stay."""
    left = [stream.id for stream in others if not stream.reader]
    surplus = left[: max(0, len(left) - keep)] if keep is not None else []
    delete_rows(connection, StreamEvent, "stream_id", surplus)
    delete_rows(connection, Stream, "id", surplus)
