"""How sessions end, with their streams: one by one, for want of time, and to make room for another.

Sessions are counted under a lock, in a statement of its own: a statement that locks and counts sees what
was there before it waited.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.exceptions import LimitReached
from mcp_sessions.models import OpeningLock, Session, Stream
from mcp_sessions.records import EndReason, Limits, SessionRecord
from mcp_sessions.stores.database.locks import for_update, lock_streams
from mcp_sessions.stores.database.records import fetch_by_id
from mcp_sessions.stores.database.statements import add_change, change, chunks, fetch, marks, table

AT: Final = "ended_at = %s, end_reason = %s"
RAN_OUT: Final = (
    "ended_at = expires_at,"
    f" end_reason = CASE WHEN expires_at < timeout_at THEN '{EndReason.IDLE}' ELSE '{EndReason.EXPIRED}' END"
)
"""The instant, and lifetimes.expiry_reason(), in SQL."""
LOCKS: Final = 64
"""Principals share so few locks, so that their rows need no purge."""

LEAST_NEEDED_FIRST: Final = (
    f"CASE WHEN EXISTS (SELECT 1 FROM {table(Stream)} t WHERE t.session_id = s.id AND t.ended_at IS NULL"
    " AND ((t.kind = 'get' AND t.reader <> '') OR t.writer <> '')) THEN 1 ELSE 0 END,"
    " CASE WHEN s.requests > 0 THEN 1 ELSE 0 END, s.last_accessed_at, s.id"
)


def end_session(connection: BaseDatabaseWrapper, key: str, at: datetime, reason: str) -> bool:
    """Whether it had not ended. The session is locked first: from here on it gets no new stream."""
    name = connection.ops.quote_name("key")
    ended_at = connection.ops.adapt_datetimefield_value(at)
    statement = f"UPDATE {table(Session)} SET {AT} WHERE {name} = %s AND ended_at IS NULL"
    if not change(connection, statement, [ended_at, reason, key]):
        return False
    found = fetch(connection, f"SELECT id FROM {table(Session)} WHERE {name} = %s", [key])
    end_streams(connection, [id for (id,) in found], [key], at)
    return True


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
    """End the streams of sessions that have just ended, and notify of their keys.

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
    add_change(connection, keys)


# -- room for another session ----------------------------------------------------------------


def make_room(connection: BaseDatabaseWrapper, session: SessionRecord, limits: Limits) -> list[SessionRecord]:
    """The sessions that were ended for a new one. A server's lock is always taken after a principal's."""
    now = connection.ops.adapt_datetimefield_value(session.created_at)
    live, params = "s.ended_at IS NULL AND s.expires_at > %s AND s.server = %s", [now, session.server]
    replaced: list[SessionRecord] = []
    if (limit := limits.per_principal) is not None:
        take_lock(connection, f"principal {int(session.principal or '0', 16) % LOCKS}")
        mine = f"s.principal = %s AND {live}"
        excess = _excess(connection, mine, [session.principal, *params], limit)
        _check(limits, excess, limit, in_all=False)
        replaced += _replace(connection, mine, [session.principal, *params], excess, session)
    if (limit := limits.in_all) is not None:
        take_lock(connection, f"server {session.server}")
        excess = _excess(connection, live, params, limit)
        _check(limits, excess, limit, in_all=True)
        replaced += _replace(connection, live, params, excess, session)
    return replaced


def _excess(connection: BaseDatabaseWrapper, live: str, params: Sequence[Any], limit: int) -> int:
    """How many are too much, with the one that comes."""
    ((count,),) = fetch(connection, f"SELECT COUNT(*) FROM {table(Session)} s WHERE {live}", params)
    return int(count) - limit + 1


def _check(limits: Limits, excess: int, limit: int, *, in_all: bool) -> None:
    if excess > 0 and not limits.replaces:
        raise LimitReached(limit, in_all=in_all)


def _replace(
    connection: BaseDatabaseWrapper, live: str, params: Sequence[Any], count: int, session: SessionRecord
) -> list[SessionRecord]:
    if count <= 0:
        return []
    statement = f"SELECT s.id FROM {table(Session)} s WHERE {live} ORDER BY {LEAST_NEEDED_FIRST} LIMIT %s"
    least = [row[0] for row in fetch(connection, statement, [*params, count])]
    locked = [locked for some in chunks(least) for locked in _lock(connection, some)]
    at = session.created_at
    adapted = connection.ops.adapt_datetimefield_value(at)
    return end_sessions(connection, locked, at, AT, adapted, EndReason.REPLACED)


def _lock(connection: BaseDatabaseWrapper, ids: Sequence[int]) -> list[int]:
    """Locked as everywhere, in the order of their keys. Who has ended meanwhile makes room too."""
    statement = (
        f"SELECT id FROM {table(Session)} WHERE id IN ({marks(ids)}) AND ended_at IS NULL"
        f" ORDER BY {connection.ops.quote_name('key')} {for_update(connection)}"
    )
    return [row[0] for row in fetch(connection, statement, ids)]


def take_lock(connection: BaseDatabaseWrapper, name: str) -> None:
    """Wait for everybody else who has it, and keep it until the commit."""
    statement = f"SELECT id FROM {table(OpeningLock)} WHERE name = %s {for_update(connection)}"
    if not fetch(connection, statement, [name]):
        rows = OpeningLock.objects.using(connection.alias)
        rows.bulk_create([OpeningLock(name=name)], ignore_conflicts=True)
        fetch(connection, statement, [name])
