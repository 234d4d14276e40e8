"""Ends of sessions, with their streams: asked for, for want of time, and for want of room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.models import Session, Stream
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.stores.database.locking import chunks, lock_streams, locked_rows
from mcp_sessions.stores.database.ringing import ring
from mcp_sessions.stores.database.rows import fetch_by_id
from mcp_sessions.stores.database.statements import change, fetch, marks, table
from mcp_sessions.stores.database.verbs import verb, writing

AT: Final = "ended_at = %s, end_reason = %s"
RAN_OUT: Final = (
    "ended_at = expires_at,"
    f" end_reason = CASE WHEN expires_at < timeout_at THEN '{EndReason.IDLE}' ELSE '{EndReason.EXPIRED}' END"
)
"""The instant, and lifetimes.expiry_reason(), in SQL."""


class EndingVerbs:
    alias: str

    @verb
    def end(self, key: str, at: datetime, reason: str) -> bool:
        with writing(self.alias) as connection:
            # The session first: from here on it gets no new stream.
            name = connection.ops.quote_name("key")
            ended_at = connection.ops.adapt_datetimefield_value(at)
            statement = f"UPDATE {table(Session)} SET {AT} WHERE {name} = %s AND ended_at IS NULL"
            if not change(connection, statement, [ended_at, reason, key]):
                return False
            ids = [
                row[0]
                for row in fetch(connection, f"SELECT id FROM {table(Session)} WHERE {name} = %s", [key])
            ]
            end_streams(connection, ids, [key], at)
            return True

    @verb
    def expire(self, now: datetime, limit: int, keys: Sequence[str] | None = None) -> Sequence[SessionRecord]:
        with writing(self.alias) as connection:
            # What somebody else is using or ending at this moment is left to the next time.
            # In the order of the index: see purge().
            expired = Session.objects.using(self.alias).expired(now).order_by("ended_at", "expires_at")
            if keys is not None:
                expired = expired.filter(key__in=keys)
            ids = list(locked_rows(expired, skips_locked=True).values_list("pk", flat=True)[:limit])
            return end_sessions(connection, ids, now, RAN_OUT)


def end_sessions(
    connection: BaseDatabaseWrapper, ids: Sequence[int], now: datetime, how: str, *params: Any
) -> list[SessionRecord]:
    """End locked sessions, by what `how` sets; as they were before."""
    found: list[SessionRecord] = []
    for some in chunks(ids):
        found += fetch_by_id(connection.alias, some)
        where = f"WHERE id IN ({marks(some)})"
        name = connection.ops.quote_name("key")
        keys = fetch(connection, f"SELECT {name} FROM {table(Session)} {where}", some)
        change(connection, f"UPDATE {table(Session)} SET {how} {where}", [*params, *some])
        end_streams(connection, some, [key for (key,) in keys], now)
    return found


def end_streams(
    connection: BaseDatabaseWrapper, ids: Sequence[int], keys: Sequence[str], at: datetime
) -> None:
    """End the streams of sessions that have just ended, and tell who has something open or running for them.

    The reply of a call that runs is ended by the call, which is cancelled and says so in it.
    """
    adapt = connection.ops.adapt_datetimefield_value
    open_ones = "ended_at IS NULL AND NOT (kind = 'post' AND writer <> '')"
    statement = f"SELECT name FROM {table(Stream)} WHERE session_id IN ({marks(ids)}) AND {open_ones}"
    names = [name for (name,) in fetch(connection, statement, ids)]
    for some in chunks([stream.id for stream in lock_streams(connection, names)]):
        change(
            connection,
            f"UPDATE {table(Stream)} SET ended_at = %s, writer = '', idle_since = %s"
            f" WHERE id IN ({marks(some)}) AND {open_ones}",
            [adapt(at), adapt(at), *some],
        )
    ring(connection, keys)
