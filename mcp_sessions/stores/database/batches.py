"""A batch of items: where each of them goes, the positions that it gets, and the statements that store it.

Positions are given out under the streams' locks. The sessions that items name are locked first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.conf import AppSettings
from mcp_sessions.identifiers import new_stream_name, new_token
from mcp_sessions.models import Notification, Session, Stream, StreamEvent
from mcp_sessions.records import Append, BatchItem, Inbound, Placed, Send, Taken
from mcp_sessions.stores.database.data import take_request
from mcp_sessions.stores.database.inbox import keep_bounds, open_inbox
from mcp_sessions.stores.database.locks import LockedStream, lock_sessions, lock_streams
from mcp_sessions.stores.database.moves import get_streams
from mcp_sessions.stores.database.statements import (
    CLOCKS,
    add_change,
    array,
    chunks,
    fetch,
    marks,
    now_of,
    set_numbers,
    table,
)
from mcp_sessions.stores.pending import log_dropped, may_be_too_much
from mcp_sessions.stores.storable import readable

Item = Sequence[Append]
"""What is stored as a whole or not at all; its first decides."""


def store_batch(
    connection: BaseDatabaseWrapper, batch: Sequence[BatchItem], now: datetime, token: str = ""
) -> list[Placed]:
    """Store a batch in the caller's transaction."""
    destinations = Destinations(connection, batch, now)
    items = [destinations.resolve(item) for item in batch]
    locked = destinations.locked.values()
    addition = give_positions(items, locked)
    if destinations.inboxes:
        destinations.settle_inboxes(addition)
    _write(connection, addition, now, token)
    if destinations.of_session:
        _drop_oldest(connection, locked, destinations.of_session, addition.events)
    return addition.placed


class Destinations:
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
        named = {append.stream for item in batch if (append := _named_append(item))}
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
        _keep_last_of_requests(addition, [self.locked[name].id for name in self.inboxes])
        for name, session in self.inboxes.items():
            inbox = self.locked[name]
            requests = {request for id, _, request, _ in addition.events if id == inbox.id and request}
            keep_bounds(self._connection, inbox, session, requests, self._now)

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


def _named_append(item: BatchItem) -> Append | None:
    """What an item adds to a stream that it names."""
    if isinstance(item, Inbound):
        return None
    return item if isinstance(item, Append) else item.call


def _keep_last_of_requests(addition: Addition, inboxes: Iterable[int]) -> None:
    """Of the messages that a batch has for one request, only the last is stored."""
    ids = set(inboxes)
    last = {(id, name): position for id, position, name, _ in addition.events if id in ids and name}
    addition.events = [each for each in addition.events if last.get((each[0], each[2]), each[1]) == each[1]]


# -- positions -------------------------------------------------------------------------------


@dataclass(slots=True)
class Addition:
    """What a batch comes to: the answer to each item, and what has to be written."""

    placed: list[Placed] = field(default_factory=list)
    events: list[tuple[int, int, str, str]] = field(default_factory=list)
    """(stream's id, position, name, data)"""
    grown: dict[int, int] = field(default_factory=dict)
    """Last positions by the stream's id."""
    taken: dict[int, int] = field(default_factory=dict)
    """Positions up to which readers have taken what is added, by the stream's id."""
    ended: set[int] = field(default_factory=set)
    names: dict[str, None] = field(default_factory=dict)
    """The streams that were added to or ended, in order."""


def give_positions(batch: Sequence[Item], streams: Iterable[LockedStream]) -> Addition:
    by_name = {stream.name: stream for stream in streams}
    addition = Addition()
    for item in batch:
        found = [(by_name.get(append.stream), append) for append in item]
        if not found or not is_open(*found[0]):
            addition.placed.append(())
            continue
        placed = [_give(addition, stream, append) for stream, append in found if stream is not None]
        addition.placed.append(tuple(placed))
    return addition


def is_open(stream: LockedStream | None, append: Append) -> bool:
    """Whether the stream takes what is to be appended: the fence against workers that were declared lost."""
    return stream is not None and not stream.has_ended and append.writer in ("", stream.writer)


def _give(addition: Addition, stream: LockedStream, append: Append) -> tuple[str, int]:
    first = stream.position + 1
    for position, (name, data) in enumerate(append.events, first):
        addition.events.append((stream.id, position, name, data))
    is_taken = bool(append.reader) and append.reader == stream.reader and not stream.is_waiting
    if append.events:
        stream.position += len(append.events)
        addition.grown[stream.id] = stream.position
    if is_taken:
        addition.taken[stream.id] = stream.delivered = stream.position
    if append.ends:
        stream.has_ended = True
        addition.ended.add(stream.id)
    addition.names[stream.name] = None
    place = stream.name, first if append.events else stream.position
    return Taken(place) if is_taken else place


# -- writing ---------------------------------------------------------------------------------


def _write(connection: BaseDatabaseWrapper, addition: Addition, now: datetime, token: str = "") -> None:
    token = token or new_token()
    at = connection.ops.adapt_datetimefield_value(now)
    _end(connection, sorted(addition.ended), at)
    if addition.events and connection.vendor == "postgresql":
        _write_at_once(connection, addition, token)
    elif addition.names:
        stored_at = now_of(connection)
        if addition.events:
            set_numbers(connection, "position", addition.grown)
            set_numbers(connection, "delivered", addition.taken)
            _insert(connection, addition, connection.ops.adapt_datetimefield_value(stored_at))
        add_change(connection, addition.names, token, stored_at)


def _write_at_once(connection: BaseDatabaseWrapper, addition: Addition, token: str) -> None:
    """PostgreSQL takes any number of rows as arrays, and all tables in one statement."""
    now = CLOCKS[connection.vendor]
    ids, positions, names, data = zip(*addition.events, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH grown AS (UPDATE {table(Stream)} SET position = g.last,"
            " delivered = CASE WHEN g.is_taken THEN g.last ELSE delivered END"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::boolean[]) AS g(id, last, is_taken)"
            f" WHERE {table(Stream)}.id = g.id),"
            f" changes AS (INSERT INTO {table(Notification)} (names, token, created_at)"
            f" VALUES (%s, %s, {now}))"
            f" INSERT INTO {table(StreamEvent)} (stream_id, position, name, data, created_at)"
            f" SELECT e.*, {now} FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[]) AS e",
            [
                array(map(str, addition.grown)),
                array(map(str, addition.grown.values())),
                array(str(id in addition.taken) for id in addition.grown),
                " ".join(addition.names),
                token,
                array(map(str, ids)),
                array(map(str, positions)),
                array(names),
                array(data),
            ],
        )


def _insert(connection: BaseDatabaseWrapper, addition: Addition, at: Any) -> None:
    with connection.cursor() as cursor:
        # MariaDB's drivers make one statement of these, and SQLite needs none.
        cursor.executemany(
            f"INSERT INTO {table(StreamEvent)} (stream_id, position, name, data, created_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            [(*event, at) for event in addition.events],
        )


def _end(connection: BaseDatabaseWrapper, ids: Sequence[int], at: Any) -> None:
    """The writer is done, and with it the connection it had: only one that came back is still there."""
    with connection.cursor() as cursor:
        for chunk in chunks(ids):
            # MariaDB evaluates these from left to right: what is compared is set last.
            cursor.execute(
                f"UPDATE {table(Stream)} SET ended_at = %s,"
                " idle_since = CASE WHEN reader IN ('', writer) THEN %s ELSE NULL END,"
                " reader = CASE WHEN reader = writer THEN '' ELSE reader END,"
                f" writer = '' WHERE id IN ({marks(chunk)})",
                [at, at, *chunk],
            )


# -- what waits and is too much --------------------------------------------------------------


def _drop_oldest(
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
