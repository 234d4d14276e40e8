"""Adding events to streams: positions given out under the streams' locks, few statements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.models import Stream, StreamEvent
from mcp_sessions.records import Append
from mcp_sessions.stores.database.locking import LockedStream, chunks, marks, set_numbers
from mcp_sessions.stores.database.verbs import table


@dataclass(slots=True)
class Addition:
    """What a batch comes to: the answer to each item, and what has to be written."""

    positions: list[int | None] = field(default_factory=list)
    events: list[tuple[int, int, str, str]] = field(default_factory=list)
    """(stream's id, position, name, data)"""
    grown: dict[int, int] = field(default_factory=dict)
    """Last positions by the stream's id."""
    ended: set[int] = field(default_factory=set)


def give_positions(batch: Sequence[Append], streams: Iterable[LockedStream]) -> Addition:
    by_name = {stream.name: stream for stream in streams}
    addition = Addition()
    for item in batch:
        stream = by_name.get(item.stream)
        if stream is None or stream.has_ended:
            addition.positions.append(None)
        else:
            _give(addition, stream, item)
    return addition


def _give(addition: Addition, stream: LockedStream, item: Append) -> None:
    first = stream.position + 1
    addition.positions.append(first if item.events else stream.position)
    for position, (name, data) in enumerate(item.events, first):
        addition.events.append((stream.id, position, name, data))
    if item.events:
        stream.position += len(item.events)
        addition.grown[stream.id] = stream.position
    if item.ends:
        stream.has_ended = True
        addition.ended.add(stream.id)


def write(connection: BaseDatabaseWrapper, addition: Addition, now: datetime) -> None:
    at = connection.ops.adapt_datetimefield_value(now)
    if addition.events and connection.vendor == "postgresql":
        _write_at_once(connection, addition, at)
    elif addition.events:
        set_numbers(connection, "position", addition.grown)
        _insert(connection, addition, at)
    _end(connection, sorted(addition.ended), at)


def _write_at_once(connection: BaseDatabaseWrapper, addition: Addition, at: Any) -> None:
    """PostgreSQL takes any number of rows as arrays, and both tables in one statement."""
    ids, positions, names, data = zip(*addition.events, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH grown AS (UPDATE {table(Stream)} SET position = g.last"
            " FROM unnest(%s::bigint[], %s::bigint[]) AS g(id, last)"
            f" WHERE {table(Stream)}.id = g.id)"
            f" INSERT INTO {table(StreamEvent)} (stream_id, position, name, data, created_at)"
            " SELECT e.*, %s FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[]) AS e",
            [
                array(map(str, addition.grown)),
                array(map(str, addition.grown.values())),
                at,
                array(map(str, ids)),
                array(map(str, positions)),
                array(names),
                array(data),
            ],
        )


def array(items: Iterable[str]) -> str:
    """Items, one at least, as PostgreSQL writes an array.

    The driver's own way costs more than the rest of an append.
    """
    quoted = (item.replace("\\", r"\\").replace('"', r"\"") for item in items)
    return '{"' + '","'.join(quoted) + '"}'


def _insert(connection: BaseDatabaseWrapper, addition: Addition, at: Any) -> None:
    with connection.cursor() as cursor:
        # MariaDB's drivers make one statement of these, and SQLite needs none.
        cursor.executemany(
            f"INSERT INTO {table(StreamEvent)} (stream_id, position, name, data, created_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            [(*event, at) for event in addition.events],
        )


def _end(connection: BaseDatabaseWrapper, ids: Sequence[int], at: Any) -> None:
    with connection.cursor() as cursor:
        for chunk in chunks(ids):
            cursor.execute(
                f"UPDATE {table(Stream)} SET ended_at = %s WHERE id IN ({marks(chunk)})", [at, *chunk]
            )
