"""Deletion of ended sessions, of streams that nobody can ask for, of delivered events and of old changes.

One transaction deletes a bounded number of rows, whatever the streams have in them: nobody waits long for its
locks. On SQLite everybody who writes waits for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet, Sum

from mcp_sessions.models import (
    Notification,
    OnceCall,
    PendingRequest,
    Session,
    Stream,
    StreamEvent,
    Subscription,
    Worker,
)
from mcp_sessions.stores.database.locks import LockedStream, lock_streams, locked_rows
from mcp_sessions.stores.database.rate_limits import delete_unused
from mcp_sessions.stores.database.statements import (
    add_change,
    change,
    chunks,
    delete_rows,
    fetch,
    marks,
    now_of,
    set_numbers,
    table,
)
from mcp_sessions.stores.database.transactions import writing

MAX_EVENTS: Final = 10_000
"""Events deleted by one transaction; more only if a single stream, or session, has more."""
MAX_ROWS: Final = 3000
"""Changes and the like deleted by one transaction."""
CHANGES_KEPT: Final = timedelta(minutes=1)
"""How long a change can be read. A process that was away for longer compares all it has open."""

T = TypeVar("T")


# -- sessions -------------------------------------------------------------------------------


def purge(connection: BaseDatabaseWrapper, before: datetime, limit: int, keys: Sequence[str] | None) -> int:
    # What somebody else is deleting at this moment is left to the next purge. The oldest first, as
    # the index has them: a scan of the table might go over all that was deleted before.
    ended = Session.objects.using(connection.alias).ended(before).order_by("ended_at", "expires_at")
    if keys is not None:
        ended = ended.filter(key__in=keys)
    ids = list(locked_rows(ended, skips_locked=True).values_list("pk", flat=True)[:limit])
    ids = list(_within_bounds(_events_of(connection.alias, ids)))
    for some in chunks(ids):
        sessions = Session.objects.using(connection.alias).filter(pk__in=some)
        # Somebody may not have learned yet that some of them have ended.
        add_change(connection, sessions.values_list("key", flat=True))
    _delete_sessions(connection, ids)
    return len(ids)


def _events_of(alias: str, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Of each session, at most how many events it has."""
    found: dict[int, int] = {}
    for some in chunks(ids):
        streams = Stream.objects.using(alias).filter(session__in=some).values("session")
        found.update(streams.annotate(given_out=Sum("position")).values_list("session", "given_out"))
    return [(each, found.get(each, 0)) for each in ids]


def _delete_sessions(connection: BaseDatabaseWrapper, ids: Sequence[int]) -> None:
    """Delete locked sessions with all that is theirs, from the leaves up."""
    streams = Stream.objects.using(connection.alias)
    names = [
        name
        for some in chunks(ids)
        for name in streams.filter(session__in=some).values_list("name", flat=True)
    ]
    locked = lock_streams(connection, names)
    stream_ids = [stream.id for stream in locked]
    delete_rows(connection, StreamEvent, "stream_id", stream_ids)
    delete_rows(connection, Stream, "id", stream_ids)
    delete_rows(connection, PendingRequest, "session_id", ids)
    delete_rows(connection, OnceCall, "session_id", ids)
    delete_rows(connection, Subscription, "session_id", ids)
    delete_rows(connection, Session, "id", ids)


# -- events ---------------------------------------------------------------------------------


def trim(alias: str, streams: Sequence[str], keep: int, before: datetime, size: int) -> int:
    deleted = 0
    for chunk in chunks(streams):
        rows = Stream.objects.using(alias).filter(name__in=chunk)
        found = rows.values_list("pk", "name", "ended_at", "request_ids")
        names = {pk: name for pk, name, ended_at, ids in found if not _has_to_stay(ended_at, ids)}
        if last := _last_too_much(alias, list(names), keep, before, size):
            with writing(alias) as connection:
                locked = lock_streams(connection, [names[pk] for pk in last])
                deleted += _delete_up_to(connection, locked, last)
    return deleted


def _last_too_much(alias: str, ids: Sequence[int], keep: int, before: datetime, size: int) -> dict[int, int]:
    """By the id of each of the streams that has one, the last event that is too old or too much."""
    if not ids:
        return {}
    connection = connections[alias]
    length = "OCTET_LENGTH" if connection.vendor == "postgresql" else "LENGTH"
    at = connection.ops.adapt_datetimefield_value(before)
    # Most streams have nothing that is too old or too much, and this finds them without sorting events.
    rough = (
        f"SELECT s.id FROM {table(Stream)} s JOIN {table(StreamEvent)} e ON e.stream_id = s.id"
        f" WHERE s.id IN ({marks(ids)}) GROUP BY s.id, s.position"
        " HAVING MIN(e.position) <= s.position - %s OR MIN(e.created_at) < %s"
        f" OR SUM({length}(e.data)) > %s"
    )
    ids = [row[0] for row in fetch(connection, rough, [*ids, keep, at, size])]
    if not ids:
        return {}
    statement = (
        "SELECT id, MAX(position) FROM (SELECT s.id, e.position, e.created_at, s.position AS newest,"
        f" SUM({length}(e.data)) OVER (PARTITION BY s.id ORDER BY e.position DESC) AS size"
        f" FROM {table(Stream)} s JOIN {table(StreamEvent)} e ON e.stream_id = s.id"
        f" WHERE s.id IN ({marks(ids)})) e"
        " WHERE position <= newest - %s OR created_at < %s OR size > %s GROUP BY id"
    )
    return dict(fetch(connection, statement, [*ids, keep, at, size]))


def _has_to_stay(ended_at: datetime | None, request_ids: str) -> bool:
    """The answers in a batch's reply say which of its requests are still to be answered."""
    return ended_at is None and len(json.loads(request_ids or "[]")) > 1


def _delete_up_to(
    connection: BaseDatabaseWrapper, streams: Iterable[LockedStream], last: Mapping[int, int]
) -> int:
    """Delete the events of locked streams up to a position, as far as they were delivered; how many."""
    deleted = 0
    trimmed: dict[int, int] = {}
    for stream in streams:
        up_to = min(last[stream.id], stream.delivered)
        statement = f"DELETE FROM {table(StreamEvent)} WHERE stream_id = %s AND position <= %s"
        if count := change(connection, statement, [stream.id, up_to]):
            deleted += count
            trimmed[stream.id] = up_to
    set_numbers(connection, "trimmed", trimmed)
    return deleted


# -- what nobody can ask for ------------------------------------------------------------------


def delete_unreachable(alias: str, before: datetime, limit: int) -> int:
    left = Stream.objects.using(alias).forgettable(before).order_by("idle_since")
    names = list(_within_bounds(left.values_list("name", "position")[:limit]))
    with writing(alias) as connection:
        # Under the locks once more: somebody may have come back to one of them, or be about to.
        locked = [stream.id for stream in lock_streams(connection, names, skips_locked=True)]
        forgettable = Stream.objects.using(alias).forgettable(before)
        ids = [
            pk
            for some in chunks(locked)
            for pk in forgettable.filter(pk__in=some).values_list("pk", flat=True)
        ]
        delete_rows(connection, StreamEvent, "stream_id", ids)
        delete_rows(connection, Stream, "id", ids)
    _delete_old_rows(connections[alias], before)
    return len(ids)


def _delete_old_rows(connection: BaseDatabaseWrapper, before: datetime) -> None:
    alias, now = connection.alias, now_of(connection)
    for old in (
        Notification.objects.filter(created_at__lt=now - CHANGES_KEPT),
        Worker.objects.filter(is_forgotten=True, lost_at__lt=before),
        PendingRequest.objects.filter(waits_until__lt=now),
    ):
        while _delete_some(old.using(alias)):
            pass
    while delete_unused(alias, MAX_ROWS):
        pass
    while _delete_outcomes(alias, now):
        pass
    while _forget_previous_ids(alias, now):
        pass


def _delete_some(old: QuerySet[Any]) -> bool:
    """Whether there may be more: one transaction deletes so many rows."""
    ids = sorted(old.values_list("pk", flat=True)[:MAX_ROWS])
    if ids:
        with writing(old.db) as connection:
            delete_rows(connection, old.model, "id", ids)
    return len(ids) == MAX_ROWS


def _delete_outcomes(alias: str, now: datetime) -> bool:
    """Delete calls whose time is over. Whether there may be more."""
    forgettable = OnceCall.objects.using(alias).forgettable(now)
    ids = sorted(forgettable.values_list("pk", flat=True)[:MAX_ROWS])
    if ids:
        with writing(alias):
            for some in chunks(ids):
                # One statement looks and deletes: a claim that comes meanwhile has made the call run.
                forgettable.filter(pk__in=some).delete()
    return len(ids) == MAX_ROWS


def _forget_previous_ids(alias: str, now: datetime) -> bool:
    """Those whose grace is over. Whether there may be more."""
    over = Session.objects.using(alias).filter(previous_until__lt=now)
    keys = sorted(over.values_list("key", flat=True)[:MAX_ROWS])
    if keys:
        with writing(alias):
            for some in chunks(keys):
                # In the order in which everybody locks sessions.
                locked = locked_rows(over.filter(key__in=some).order_by("key"))
                ids = list(locked.values_list("pk", flat=True))
                over.filter(pk__in=ids).update(previous_digest="", previous_until=None, sealed_id="")
    return len(keys) == MAX_ROWS


def _within_bounds(counted: Iterable[tuple[T, int]]) -> Iterator[T]:
    """The first ones that have no more than MAX_EVENTS together; the very first in any case."""
    events = 0
    for number, (each, count) in enumerate(counted):
        events += count
        if number and events > MAX_EVENTS:
            return
        yield each
