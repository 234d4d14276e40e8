"""Where the items of a batch go, how many events may wait there, and the transaction that stores them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.conf import AppSettings
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.models import Session, Stream, StreamEvent
from mcp_sessions.records import Append, BatchItem, Inbound, Placed, Send
from mcp_sessions.stores.database.appending import Addition, Item, give_positions, is_open, write
from mcp_sessions.stores.database.inbox import keep_bounds, last_of_requests, open_inbox
from mcp_sessions.stores.database.locking import (
    LockedStream,
    lock_sessions,
    lock_streams,
    set_numbers,
)
from mcp_sessions.stores.database.moving import get_streams
from mcp_sessions.stores.database.requests import take_request
from mcp_sessions.stores.database.statements import fetch, table
from mcp_sessions.stores.pending import log_dropped, may_be_too_much
from mcp_sessions.stores.storable import readable


def store_batch(
    connection: BaseDatabaseWrapper, batch: Sequence[BatchItem], now: datetime, token: str = ""
) -> list[Placed]:
    """Store a batch in the caller's transaction."""
    addressing = Addressing(connection, batch, now)
    items = [addressing.resolve(item) for item in batch]
    locked = addressing.locked.values()
    addition = give_positions(items, locked)
    if addressing.inboxes:
        addressing.settle_inboxes(addition)
    write(connection, addition, now, token)
    if addressing.of_session:
        drop_oldest(connection, locked, addressing.of_session, addition.events)
    return addition.placed


class Addressing:
    """Where the items of one batch go.

    Its sessions are locked, so that no stream is opened or attached meanwhile; and so are their
    GET streams before one is chosen, so that none is left, ended or deleted.
    """

    def __init__(self, connection: BaseDatabaseWrapper, batch: Sequence[BatchItem], now: datetime) -> None:
        self._connection = connection
        self._alias = connection.alias
        self._now = now
        sends = {item.session for item in batch if isinstance(item, Send)}
        inbound = {item.session for item in batch if isinstance(item, Inbound)}
        self.sessions = lock_sessions(self._alias, sends | inbound) if sends or inbound else {}
        self._names = get_streams(connection, [s.pk for s in self.sessions.values() if s.key in sends])
        named = {append.stream for item in batch if (append := named_append(item))}
        in_sessions = {name for names in self._names.values() for name in names}
        names = named | in_sessions | (inbound & self.sessions.keys())
        self.locked = {stream.name: stream for stream in lock_streams(connection, names)}
        self.of_session: dict[str, Session] = {}
        """The session of each stream that was chosen for a Send."""
        self.inboxes: dict[str, Session] = {}
        """The session of each inbox that is added to."""

    def resolve(self, item: BatchItem) -> Item:
        if isinstance(item, Append):
            stream = self.locked.get(item.stream)
            return () if stream is None or stream.kind == "inbox" else (item,)
        if (session := self.sessions.get(item.session)) is None:
            return ()
        if isinstance(item, Inbound):
            return self._resolve_inbound(session, item)
        if item.call is not None and not is_open(self.locked.get(item.call.stream), item.call):
            # Refused, and no stream is opened for it.
            return ()
        event, readers = ((item.name, item.data),), dict(item.readers)
        return [
            *([item.call] if item.call else []),
            *(Append(n, event, reader=readers.get(n, "")) for n in self._targets(session, item)),
        ]

    def _resolve_inbound(self, session: Session, item: Inbound) -> Item:
        if item.request and not take_request(self._alias, session.pk, item.request, answers=item.answers):
            return ()
        if session.key not in self.locked:
            self.locked[session.key] = open_inbox(self._alias, session, self._now)
        self.inboxes[session.key] = session
        return (Append(session.key, ((item.request, item.data),)),)

    def settle_inboxes(self, addition: Addition) -> None:
        last_of_requests(addition, [self.locked[name].id for name in self.inboxes])
        for name, session in self.inboxes.items():
            keep_bounds(self._connection, self.locked[name], session, addition, self._now)

    def _targets(self, session: Session, item: Send) -> list[str]:
        found = [self.locked[name] for name in self._names[session.pk] if name in self.locked]
        streams = [stream for stream in found if not stream.has_ended]
        read = [stream.name for stream in streams if stream.reader]
        names = read if item.everywhere else read[-1:]
        if not names and not item.only_now:
            # In one stream, whatever was opened meanwhile: what came first goes first.
            waiting = [stream for stream in streams if stream.is_waiting]
            names = [stream.name for stream in (waiting or streams)[-1:]] or [self._open(session)]
        self.of_session.update(dict.fromkeys(names, session))
        return names

    def _open(self, session: Session) -> str:
        row = Stream(
            name=new_stream_name(),
            session_id=session.pk,
            kind="get",
            created_at=self._now,
            idle_since=self._now,
        )
        row.save(using=self._alias, force_insert=True)
        self._names[session.pk].append(row.name)
        self.locked[row.name] = LockedStream(row.pk, row.name, 0, 0, False, "", "")
        return row.name


def named_append(item: BatchItem) -> Append | None:
    """What an item adds to a stream that it names."""
    if isinstance(item, Inbound):
        return None
    return item if isinstance(item, Append) else item.call


def drop_oldest(
    connection: BaseDatabaseWrapper,
    streams: Iterable[LockedStream],
    sessions: Mapping[str, Session],
    added: Sequence[tuple[int, int, str, str]],
) -> None:
    """Delete what is too much among the events that wait in these streams, if nobody reads them."""
    for stream in streams:
        session = sessions.get(stream.name)
        if session is None or stream.reader:
            continue
        options = AppSettings(session.server)
        last = stream.delivered if options.MAX_PENDING is None else stream.position - options.MAX_PENDING
        sizes = [len(data) for id, _, _, data in added if id == stream.id]
        limit = options.MAX_PENDING_BYTES
        if limit is not None and may_be_too_much(stream.position, len(sizes), sum(sizes), limit):
            last = max(last, _last_too_large(connection, stream, limit))
        if last > stream.delivered:
            _drop(connection, stream, session, last)


def _last_too_large(connection: BaseDatabaseWrapper, stream: LockedStream, limit: int) -> int:
    """The position of the last event with which those behind it have too much data; 0 if none has."""
    length = "OCTET_LENGTH" if connection.vendor == "postgresql" else "LENGTH"
    ((last,),) = fetch(
        connection,
        "SELECT MAX(position) FROM ("
        f"SELECT position, SUM({length}(data)) OVER (ORDER BY position DESC) AS size"
        f" FROM {table(StreamEvent)} WHERE stream_id = %s AND position > %s) e WHERE size > %s",
        [stream.id, stream.delivered, limit],
    )
    return last or 0


def _drop(connection: BaseDatabaseWrapper, stream: LockedStream, session: Session, last: int) -> None:
    events = StreamEvent.objects.using(connection.alias).filter(stream=stream.id)
    count, _ = events.filter(position__gt=stream.delivered, position__lte=last).delete()
    for column in ("delivered", "trimmed"):
        set_numbers(connection, column, {stream.id: last})
    if (metadata := readable(session.metadata)) == session.metadata:
        session.metadata = {**metadata, "dropped": metadata.get("dropped", 0) + count}
        Session.objects.using(connection.alias).filter(pk=session.pk).update(metadata=session.metadata)
    log_dropped(session.key, session.server, count)
