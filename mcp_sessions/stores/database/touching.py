"""The verb that records uses of sessions: one statement, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.models import Session
from mcp_sessions.records import Touch
from mcp_sessions.stores.database.locking import chunks, locked_rows
from mcp_sessions.stores.database.statements import marks, table, update_from
from mcp_sessions.stores.database.verbs import verb, writing

_COLUMNS: Final = ("last_accessed_at", "expires_at", "timeout_at", "requests", "connections")


class TouchingVerbs:
    alias: str

    @verb
    def touch(self, touches: Sequence[Touch]) -> Sequence[str]:
        ordered = sorted(touches, key=attrgetter("key"))
        by_key = {key: list(uses) for key, uses in groupby(ordered, key=attrgetter("key"))}
        over = set(by_key)
        for keys in chunks(list(by_key)):
            with writing(self.alias) as connection:
                rows = Session.objects.using(self.alias).filter(key__in=keys).order_by("key")
                sessions = list(locked_rows(rows).only("key", "ended_at", *_COLUMNS))
                over -= {session.key for session in sessions if session.ended_at is None}
                used = [session for session in sessions if _add(session, by_key[session.key])]
                if used:
                    _update(connection, used)
        return list(over)


def _add(session: Session, touches: Sequence[Touch]) -> bool:
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


def _update(connection: BaseDatabaseWrapper, sessions: Sequence[Session]) -> None:
    if connection.vendor == "postgresql":
        rows = {each.pk: {column: getattr(each, column) for column in _COLUMNS} for each in sessions}
        update_from(connection, Session, rows)
        return
    cases = " ".join(["WHEN %s THEN %s"] * len(sessions))
    columns = ", ".join(f"{column} = CASE id {cases} END" for column in _COLUMNS)
    adapt = connection.ops.adapt_datetimefield_value
    params: list[Any] = []
    for column in _COLUMNS:
        for session in sessions:
            value = getattr(session, column)
            params += [session.pk, adapt(value) if column.endswith("_at") else value]
    ids = [session.pk for session in sessions]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table(Session)} SET {columns} WHERE id IN ({marks(ids)})", [*params, *ids])
