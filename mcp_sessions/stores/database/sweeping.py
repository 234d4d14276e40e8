"""The verbs that delete what is over: sessions, streams that were left, events that were read, old news.

One transaction deletes a bounded number of rows, whatever the streams have in them: who waits for it does not
wait long. On SQLite that is everybody who writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet, Sum

from mcp_sessions.models import (
    Bell,
    OnceCall,
    PendingRequest,
    Session,
    Stream,
    StreamEvent,
    Subscription,
    Worker,
)
from mcp_sessions.stores.base import UNBOUNDED
from mcp_sessions.stores.database.charging import forget_unused
from mcp_sessions.stores.database.claiming import forget_outcomes
from mcp_sessions.stores.database.locking import (
    LockedStream,
    chunks,
    delete_rows,
    lock_streams,
    locked_rows,
    set_numbers,
)
from mcp_sessions.stores.database.ringing import KEPT, ring
from mcp_sessions.stores.database.rotating import forget_previous
from mcp_sessions.stores.database.statements import change, fetch, marks, now_of, table
from mcp_sessions.stores.database.verbs import verb, writing

MOST_EVENTS: Final = 10_000
"""Events deleted by one transaction; more only if a single stream, or session, has more."""

MOST_ROWS: Final = 3000
"""Bells and the like deleted by one transaction."""

T = TypeVar("T")


class SweepingVerbs:
    alias: str

    @verb
    def trim(self, streams: Sequence[str], keep: int, before: datetime, size: int = UNBOUNDED) -> int:
        deleted = 0
        for chunk in chunks(streams):
            rows = Stream.objects.using(self.alias).filter(name__in=chunk)
            found = rows.values_list("pk", "name", "ended_at", "request_ids")
            names = {pk: name for pk, name, ended_at, ids in found if not has_to_stay(ended_at, ids)}
            if last := self._last_too_much(list(names), keep, before, size):
                with writing(self.alias) as connection:
                    locked = lock_streams(connection, [names[pk] for pk in last])
                    deleted += delete_up_to(connection, locked, last)
        return deleted

    def _last_too_much(self, ids: Sequence[int], keep: int, before: datetime, size: int) -> dict[int, int]:
        """By the id of each of the streams that has one, the last event that is too old or too much."""
        if not ids:
            return {}
        connection = connections[self.alias]
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

    @verb
    def delete_unreachable(self, before: datetime, limit: int) -> int:
        left = Stream.objects.using(self.alias).forgettable(before).order_by("idle_since")
        names = list(within_bounds(left.values_list("name", "position")[:limit]))
        with writing(self.alias) as connection:
            # Under the locks once more: somebody may have come back to one of them, or be about to.
            locked = [stream.id for stream in lock_streams(connection, names, skips_locked=True)]
            forgettable = Stream.objects.using(self.alias).forgettable(before)
            ids = [
                pk
                for some in chunks(locked)
                for pk in forgettable.filter(pk__in=some).values_list("pk", flat=True)
            ]
            delete_rows(connection, StreamEvent, "stream_id", ids)
            delete_rows(connection, Stream, "id", ids)
        self._forget_news(before)
        forget_previous(self.alias)
        return len(ids)

    @verb
    def purge(self, before: datetime, limit: int, keys: Sequence[str] | None = None) -> int:
        with writing(self.alias) as connection:
            # What somebody else is deleting at this moment is left to the next purge. The oldest first, as
            # the index has them: a scan of the table might go over all that was deleted before.
            over = Session.objects.using(self.alias).ended(before).order_by("ended_at", "expires_at")
            if keys is not None:
                over = over.filter(key__in=keys)
            ids = list(locked_rows(over, skips_locked=True).values_list("pk", flat=True)[:limit])
            ids = list(within_bounds(self._events_of(ids)))
            for some in chunks(ids):
                sessions = Session.objects.using(self.alias).filter(pk__in=some)
                # Of some of them somebody may not have heard that they are over.
                ring(connection, sessions.values_list("key", flat=True))
            delete_sessions(connection, ids)
            return len(ids)

    def _events_of(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """Of each session, at most how many events it has."""
        found: dict[int, int] = {}
        for some in chunks(ids):
            streams = Stream.objects.using(self.alias).filter(session__in=some).values("session")
            found.update(streams.annotate(given_out=Sum("position")).values_list("session", "given_out"))
        return [(each, found.get(each, 0)) for each in ids]

    def _forget_news(self, before: datetime) -> None:
        now = now_of(connections[self.alias])
        for old in (
            Bell.objects.filter(rung_at__lt=now - KEPT),
            Worker.objects.filter(is_forgotten=True, lost_at__lt=before),
            PendingRequest.objects.filter(waits_until__lt=now),
        ):
            while self._forget_some(old.using(self.alias)):
                pass
        while forget_unused(connections[self.alias], MOST_ROWS):
            pass
        while forget_outcomes(self.alias, MOST_ROWS):
            pass

    def _forget_some(self, old: QuerySet[Any]) -> bool:
        """Whether there may be more: so many rows are deleted at once."""
        ids = sorted(old.values_list("pk", flat=True)[:MOST_ROWS])
        if ids:
            with writing(self.alias) as connection:
                delete_rows(connection, old.model, "id", ids)
        return len(ids) == MOST_ROWS


def has_to_stay(ended_at: datetime | None, request_ids: str) -> bool:
    """The answers in a batch's reply say which of its requests are still to be answered."""
    return ended_at is None and len(json.loads(request_ids or "[]")) > 1


def delete_up_to(
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


def within_bounds(counted: Iterable[tuple[T, int]]) -> Iterator[T]:
    """The first ones that have no more than MOST_EVENTS together; the very first in any case."""
    events = 0
    for number, (each, count) in enumerate(counted):
        events += count
        if number and events > MOST_EVENTS:
            return
        yield each


def delete_sessions(connection: BaseDatabaseWrapper, ids: Sequence[int]) -> None:
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
