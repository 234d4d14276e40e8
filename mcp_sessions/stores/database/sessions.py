"""The verbs on sessions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from mcp_sessions.models import Session, SessionQuerySet, Stream
from mcp_sessions.records import SessionRecord, Statistics
from mcp_sessions.stores.database.locking import lock_session
from mcp_sessions.stores.database.rows import fetch_sessions
from mcp_sessions.stores.database.searching import SEARCHED, searched
from mcp_sessions.stores.database.statements import change, table
from mcp_sessions.stores.database.verbs import verb, writing
from mcp_sessions.stores.storable import readable, storable_json


class SessionVerbs:
    alias: str

    def _sessions(self) -> SessionQuerySet:
        return Session.objects.using(self.alias)

    @verb
    def load(self, digest: str) -> SessionRecord | None:
        found = fetch_sessions(self.alias, "WHERE s.digest = %s OR s.previous_digest = %s", [digest, digest])
        return found[0] if len(found) == 1 else None

    @verb
    def load_by_key(self, key: str) -> SessionRecord | None:
        column = connections[self.alias].ops.quote_name("key")
        return next(iter(fetch_sessions(self.alias, f"WHERE s.{column} = %s", [key])), None)

    @verb
    def live_sessions(self, server: str, now: datetime, after: str, limit: int) -> Sequence[SessionRecord]:
        key = connections[self.alias].ops.quote_name("key")
        rest = (
            f"WHERE s.server = %s AND s.{key} > %s AND s.ended_at IS NULL AND s.expires_at > %s"
            f" ORDER BY s.{key} LIMIT %s"
        )
        at = connections[self.alias].ops.adapt_datetimefield_value(now)
        return fetch_sessions(self.alias, rest, [server, after, at, limit])

    @verb
    def keys_of(self, server: str, principal: str, now: datetime, limit: int) -> Sequence[str]:
        mine = self._sessions().live(now).filter(server=server, principal=principal)
        return list(mine.values_list("key", flat=True)[:limit])

    @verb
    def save_metadata(self, key: str, changes: Mapping[str, Any]) -> bool:
        if connections[self.alias].vendor == "postgresql" and not changes.keys() & SEARCHED:
            return _merge(connections[self.alias], key, changes)
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

    @verb
    def warn(self, key: str, expires_at: datetime) -> bool:
        with writing(self.alias):
            unwarned = Q(warned_for=None) | Q(warned_for__lt=expires_at)
            mine = self._sessions().unended().filter(unwarned, key=key)
            return bool(mine.update(warned_for=expires_at))

    @verb
    def expiring(self, server: str, now: datetime, before: datetime, limit: int) -> Sequence[SessionRecord]:
        rest = (
            "WHERE s.server = %s AND s.ended_at IS NULL AND s.expires_at > %s AND s.expires_at <= %s"
            " AND (s.warned_for IS NULL OR s.warned_for < s.expires_at) ORDER BY s.expires_at LIMIT %s"
        )
        adapt = connections[self.alias].ops.adapt_datetimefield_value
        return fetch_sessions(self.alias, rest, [server, adapt(now), adapt(before), limit])

    @verb
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

    @verb
    def count_live(self, now: datetime) -> int:
        return self._sessions().live(now).count()

    @verb
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
