"""Sessions: created within limits, found, used, rotated, ended, deleted and counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from django.db import IntegrityError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier
from mcp_sessions.models import Session, SessionQuerySet, Stream
from mcp_sessions.records import (
    NO_LIMITS,
    ROTATED,
    Inbound,
    Limits,
    Rotation,
    SessionRecord,
    Statistics,
    Touch,
)
from mcp_sessions.stores.database import deletion
from mcp_sessions.stores.database.batches import store_batch
from mcp_sessions.stores.database.ends import RAN_OUT, end_session, end_sessions, make_room
from mcp_sessions.stores.database.locks import lock_session, locked_rows
from mcp_sessions.stores.database.records import SEARCHED, columns_of, fetch_sessions, searched
from mcp_sessions.stores.database.statements import change, chunks, insert, marks, table, update_from
from mcp_sessions.stores.database.transactions import bounded_wait, retried, writing
from mcp_sessions.stores.storable import readable, storable_json

_USED: Final = ("last_accessed_at", "expires_at", "timeout_at", "requests", "connections")
"""The columns that a use changes."""


class Sessions:
    alias: str

    def _sessions(self) -> SessionQuerySet:
        return Session.objects.using(self.alias)

    @retried
    def create(self, session: SessionRecord, limits: Limits = NO_LIMITS) -> Sequence[SessionRecord]:
        try:
            with writing(self.alias) as connection:
                replaced = make_room(connection, session, limits)
                insert(connection, Session, columns_of(connection, session))
                return replaced
        except IntegrityError as error:
            taken = Q(key=session.key) | Q(digest=session.digest)
            if not Session.objects.using(self.alias).filter(taken).exists():
                raise
            raise DuplicateIdentifier("A session with this key or digest is already there.") from error

    @retried
    def load(self, digest: str) -> SessionRecord | None:
        found = fetch_sessions(self.alias, "WHERE s.digest = %s OR s.previous_digest = %s", [digest, digest])
        return found[0] if len(found) == 1 else None

    @retried
    def load_by_key(self, key: str) -> SessionRecord | None:
        column = connections[self.alias].ops.quote_name("key")
        return next(iter(fetch_sessions(self.alias, f"WHERE s.{column} = %s", [key])), None)

    @retried
    def live_sessions(self, server: str, now: datetime, after: str, limit: int) -> Sequence[SessionRecord]:
        key = connections[self.alias].ops.quote_name("key")
        rest = (
            f"WHERE s.server = %s AND s.{key} > %s AND s.ended_at IS NULL AND s.expires_at > %s"
            f" ORDER BY s.{key} LIMIT %s"
        )
        at = connections[self.alias].ops.adapt_datetimefield_value(now)
        return fetch_sessions(self.alias, rest, [server, after, at, limit])

    @retried
    def keys_of(self, server: str, principal: str, now: datetime, limit: int) -> Sequence[str]:
        mine = self._sessions().live(now).filter(server=server, principal=principal)
        return list(mine.values_list("key", flat=True)[:limit])

    @retried
    def save_metadata(self, key: str, changes: Mapping[str, Any]) -> bool:
        if connections[self.alias].vendor == "postgresql" and not changes.keys() & SEARCHED:
            with bounded_wait(self.alias) as connection:
                return _merge(connection, key, changes)
        with writing(self.alias) as connection:
            found = lock_session(self.alias, key, "id", "metadata")
            if found is None:
                return False
            metadata = json.loads(found[1])
            # What cannot be read stays as it is.
            if readable(metadata) != metadata:
                return False
            merged = {**metadata, **storable_json(changes)}
            values = {"metadata": json.dumps(merged), **searched(merged)}
            columns = ", ".join(f"{column} = %s" for column in values)
            statement = f"UPDATE {table(Session)} SET {columns} WHERE id = %s"
            return bool(change(connection, statement, [*values.values(), found[0]]))

    @retried
    def warn(self, key: str, expires_at: datetime) -> bool:
        with writing(self.alias):
            unwarned = Q(warned_for=None) | Q(warned_for__lt=expires_at)
            mine = self._sessions().unended().filter(unwarned, key=key)
            return bool(mine.update(warned_for=expires_at))

    @retried
    def expiring(self, server: str, now: datetime, before: datetime, limit: int) -> Sequence[SessionRecord]:
        rest = (
            "WHERE s.server = %s AND s.ended_at IS NULL AND s.expires_at > %s AND s.expires_at <= %s"
            " AND (s.warned_for IS NULL OR s.warned_for < s.expires_at) ORDER BY s.expires_at LIMIT %s"
        )
        adapt = connections[self.alias].ops.adapt_datetimefield_value
        return fetch_sessions(self.alias, rest, [server, adapt(now), adapt(before), limit])

    @retried
    def touch(self, touches: Sequence[Touch]) -> Sequence[str]:
        ordered = sorted(touches, key=attrgetter("key"))
        by_key = {key: list(uses) for key, uses in groupby(ordered, key=attrgetter("key"))}
        over = set(by_key)
        for keys in chunks(list(by_key)):
            with writing(self.alias) as connection:
                rows = Session.objects.using(self.alias).filter(key__in=keys).order_by("key")
                sessions = list(locked_rows(rows).only("key", "ended_at", *_USED))
                over -= {session.key for session in sessions if session.ended_at is None}
                used = [session for session in sessions if _add_uses(session, by_key[session.key])]
                if used:
                    _save_uses(connection, used)
        return list(over)

    @retried
    def rotate(self, key: str, before: str, rotation: Rotation) -> bool:
        try:
            with writing(self.alias) as connection:
                found = lock_session(self.alias, key, "id", "digest")
                if found is None or found[1] != before:
                    return False
                _set_id(connection, found[0], before, rotation)
                store_batch(connection, [Inbound(key, ROTATED)], timezone.now())
                return True
        except IntegrityError as error:
            if not Session.objects.using(self.alias).filter(digest=rotation.digest).exists():
                raise
            raise DuplicateIdentifier("A session with this digest is already there.") from error

    @retried
    def end(self, key: str, at: datetime, reason: str) -> bool:
        with writing(self.alias) as connection:
            return end_session(connection, key, at, reason)

    @retried
    def expire(self, now: datetime, limit: int, keys: Sequence[str] | None = None) -> Sequence[SessionRecord]:
        with writing(self.alias) as connection:
            # What somebody else is using or ending at this moment is left to the next time.
            # In the order of the index: see deletion.purge().
            expired = Session.objects.using(self.alias).expired(now).order_by("ended_at", "expires_at")
            if keys is not None:
                expired = expired.filter(key__in=keys)
            ids = list(locked_rows(expired, skips_locked=True).values_list("pk", flat=True)[:limit])
            return end_sessions(connection, ids, now, RAN_OUT)

    @retried
    def purge(self, before: datetime, limit: int, keys: Sequence[str] | None = None) -> int:
        with writing(self.alias) as connection:
            return deletion.purge(connection, before, limit, keys)

    @retried
    def statistics(self, now: datetime, server: str = "") -> Statistics:
        sessions, streams = self._sessions(), Stream.objects.using(self.alias).unended()
        if server:
            sessions, streams = sessions.filter(server=server), streams.filter(session__server=server)
        return Statistics(
            live=sessions.live(now).count(),
            expired=sessions.expired(now).count(),
            ended=sessions.exclude(ended_at=None).count(),
            open_streams=streams.filter(kind="get").exclude(reader="").count(),
            running_calls=streams.exclude(writer="").count(),
        )

    @retried
    def count_live(self, now: datetime) -> int:
        return self._sessions().live(now).count()

    @retried
    def count_over(self, now: datetime, ended_before: datetime, limit: int) -> int:
        expired = self._sessions().expired(now)[:limit].count()
        return expired + self._sessions().ended(ended_before)[: limit - expired].count()


def _merge(connection: BaseDatabaseWrapper, key: str, changes: Mapping[str, Any]) -> bool:
    """By one statement, which may be repeated: what ends the opening of a session needs no transaction."""
    statement = (
        f"UPDATE {table(Session)} SET metadata = metadata || %s::jsonb"
        f" WHERE {connection.ops.quote_name('key')} = %s AND ended_at IS NULL"
        " AND jsonb_typeof(metadata) = 'object'"
    )
    return bool(change(connection, statement, [json.dumps(storable_json(changes)), key]))


def _add_uses(session: Session, touches: Sequence[Touch]) -> bool:
    """Whether any of the touches was of a session that had not expired."""
    live = [touch for touch in touches if touch.last_accessed_at < session.expires_at]
    for touch in live:
        session.requests += touch.requests
        session.connections += touch.connections
        if session.ended_at is not None:
            continue
        session.last_accessed_at = max(session.last_accessed_at, touch.last_accessed_at)
        session.expires_at = max(session.expires_at, touch.expires_at)
        session.timeout_at = max(session.timeout_at, touch.timeout_at)
    return bool(live)


def _save_uses(connection: BaseDatabaseWrapper, sessions: Sequence[Session]) -> None:
    if connection.vendor == "postgresql":
        rows = {each.pk: {column: getattr(each, column) for column in _USED} for each in sessions}
        update_from(connection, Session, rows)
        return
    cases = " ".join(["WHEN %s THEN %s"] * len(sessions))
    columns = ", ".join(f"{column} = CASE id {cases} END" for column in _USED)
    adapt = connection.ops.adapt_datetimefield_value
    params: list[Any] = []
    for column in _USED:
        for session in sessions:
            value = getattr(session, column)
            params += [session.pk, adapt(value) if column.endswith("_at") else value]
    ids = [session.pk for session in sessions]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table(Session)} SET {columns} WHERE id IN ({marks(ids)})", [*params, *ids])


def _set_id(connection: BaseDatabaseWrapper, id: int, before: str, rotation: Rotation) -> None:
    values = {
        "digest": rotation.digest,
        "previous_digest": before,
        "previous_until": connection.ops.adapt_datetimefield_value(rotation.until),
        "sealed_id": rotation.sealed_id,
    }
    if rotation.owner is not None:
        values |= {"owner": rotation.owner, "principal": rotation.principal}
    columns = ", ".join(f"{column} = %s" for column in values)
    change(connection, f"UPDATE {table(Session)} SET {columns} WHERE id = %s", [*values.values(), id])
