"""Creating sessions, and the limits on how many there may be.

Who counts holds a lock, and counts in a statement of its own: one that locks and counts sees
what was there before it waited.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from django.db import IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from mcp_sessions.exceptions import DuplicateIdentifier, LimitReached
from mcp_sessions.models import OpeningLock, Session, Stream
from mcp_sessions.records import NO_LIMITS, EndReason, Limits, SessionRecord
from mcp_sessions.stores.database.ending import AT, end_sessions
from mcp_sessions.stores.database.locking import chunks
from mcp_sessions.stores.database.searching import searched
from mcp_sessions.stores.database.statements import fetch, for_update, insert, marks, table
from mcp_sessions.stores.database.verbs import verb, writing
from mcp_sessions.stores.storable import serialize, storable_json

LOCKS: Final = 64
"""Principals share so few locks, so that their rows need no purge."""

LEAST_NEEDED_FIRST: Final = (
    f"CASE WHEN EXISTS (SELECT 1 FROM {table(Stream)} t WHERE t.session_id = s.id AND t.ended_at IS NULL"
    " AND ((t.kind = 'get' AND t.reader <> '') OR t.writer <> '')) THEN 1 ELSE 0 END,"
    " CASE WHEN s.requests > 0 THEN 1 ELSE 0 END, s.last_accessed_at, s.id"
)


class OpeningVerbs:
    alias: str

    @verb
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


def columns_of(connection: BaseDatabaseWrapper, session: SessionRecord) -> dict[str, Any]:
    adapt = connection.ops.adapt_datetimefield_value
    metadata = storable_json(session.metadata)
    return {
        "key": session.key,
        "digest": session.digest,
        "server": session.server,
        "owner": session.owner,
        "created_at": adapt(session.created_at),
        "last_accessed_at": adapt(session.last_accessed_at),
        "expires_at": adapt(session.expires_at),
        "timeout_at": adapt(session.timeout_at),
        "principal": session.principal,
        "requests": session.requests,
        "connections": session.connections,
        "ended_at": adapt(session.ended_at),
        "end_reason": session.end_reason,
        "metadata": json.dumps(metadata),
        **searched(metadata),
        "data": serialize(session.data),
        "lease_token": "",
    }
