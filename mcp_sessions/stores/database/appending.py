"""Adding events to streams: positions given out under the streams' locks, few statements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.identifiers import new_token
from mcp_sessions.models import Bell, Stream, StreamEvent
from mcp_sessions.records import Append, Placed, Taken
from mcp_sessions.stores.database.locking import LockedStream, chunks, set_numbers
from mcp_sessions.stores.database.ringing import ring
from mcp_sessions.stores.database.statements import CLOCKS, array, marks, now_of, table

Item = Sequence[Append]
"""What is stored as a whole or not at all; its first decides."""


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
    """Whether the stream takes what is to be appended: the fence against workers that were declared dead."""
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


def write(connection: BaseDatabaseWrapper, addition: Addition, now: datetime, token: str = "") -> None:
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
        ring(connection, addition.names, token, stored_at)


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
            f" rung AS (INSERT INTO {table(Bell)} (names, token, rung_at) VALUES (%s, %s, {now}))"
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
