"""Events for a session: on which of its GET streams they go, and how many may wait there."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F

from mcp_sessions.conf import AppSettings
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.models import Session, Stream, StreamEvent
from mcp_sessions.records import Append, Send
from mcp_sessions.stores.database.appending import Item
from mcp_sessions.stores.database.locking import LockedStream, lock_sessions, set_numbers

logger = logging.getLogger("mcp_sessions.stores")


class Addressing:
    """Where the events of one batch go; its sessions are locked, so that no stream opens meanwhile."""

    def __init__(
        self, connection: BaseDatabaseWrapper, batch: Sequence[Append | Send], now: datetime
    ) -> None:
        self._alias = connection.alias
        self._now = now
        keys = {item.session for item in batch if isinstance(item, Send)}
        self.sessions = lock_sessions(self._alias, keys) if keys else {}
        self._streams = self._find_streams()
        self.of_session: dict[str, Session] = {}
        """The session of each stream that was chosen for a Send."""

    def resolve(self, item: Append | Send) -> Item:
        if isinstance(item, Append):
            return (item,)
        if (session := self.sessions.get(item.session)) is None:
            return ()
        event = ((item.name, item.data),)
        return [
            *([item.call] if item.call else []),
            *(Append(n, event) for n in self._targets(session, item)),
        ]

    def _targets(self, session: Session, item: Send) -> list[str]:
        streams = self._streams[session.pk]
        read = [stream.name for stream in streams if stream.reader]
        names = read if item.everywhere else read[-1:]
        if not names and not item.only_now:
            names = [streams[-1].name if streams else self._open(session)]
        self.of_session.update(dict.fromkeys(names, session))
        return names

    def _find_streams(self) -> dict[int, list[Stream]]:
        """The sessions' GET streams; the one that was attached last is the last."""
        found: dict[int, list[Stream]] = defaultdict(list)
        rows = Stream.objects.using(self._alias).unended().filter(kind="get")
        ids = [session.pk for session in self.sessions.values()]
        for row in rows.filter(session__in=ids).order_by(F("attached_at").asc(nulls_first=True), "pk"):
            found[row.session_id].append(row)
        return found

    def _open(self, session: Session) -> str:
        row = Stream(
            name=new_stream_name(), session=session, kind="get", created_at=self._now, idle_since=self._now
        )
        row.save(using=self._alias, force_insert=True)
        self._streams[session.pk].append(row)
        return row.name


def drop_oldest(
    connection: BaseDatabaseWrapper, streams: Iterable[LockedStream], sessions: Mapping[str, Session]
) -> None:
    """Delete what is too much among the events that wait in these streams, if nobody reads them."""
    for stream in streams:
        session = sessions.get(stream.name)
        if session is None or stream.reader:
            continue
        limit = AppSettings(session.server).MAX_PENDING
        if limit is not None and stream.position - stream.delivered > limit:
            _drop(connection, stream, session, limit)


def _drop(connection: BaseDatabaseWrapper, stream: LockedStream, session: Session, limit: int) -> None:
    last = stream.position - limit
    events = StreamEvent.objects.using(connection.alias).filter(stream=stream.id)
    count, _ = events.filter(position__gt=stream.delivered, position__lte=last).delete()
    set_numbers(connection, "delivered", {stream.id: last})
    metadata = {**session.metadata, "dropped": session.metadata.get("dropped", 0) + count}
    Session.objects.using(connection.alias).filter(pk=session.pk).update(metadata=metadata)
    session.metadata = metadata
    logger.warning(
        "session %s: the oldest %d messages dropped, more than MAX_PENDING (%d) wait for a stream",
        session.key,
        count,
        limit,
    )
