"""Summary rows: the sessions that another store keeps, for the admin. No request reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.models import Session
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.database.locks import locked_rows
from mcp_sessions.stores.database.records import columns_of
from mcp_sessions.stores.database.statements import chunks, insert_all, update_all
from mcp_sessions.stores.database.store import DatabaseSessionStore
from mcp_sessions.stores.database.transactions import retried, writing

COUNTS: Final = ("requests", "connections")
IDENTITY: Final = ("digest", "owner", "principal")
"""What a rotation changes."""
CHANGING: Final = ("last_accessed_at", "expires_at", "timeout_at", "ended_at", "end_reason")


class SummaryRows(DatabaseSessionStore):
    """A database store that has sessions alone: no data, no streams."""

    @retried
    def write(self, sessions: Sequence[SessionRecord]) -> None:
        """Make the rows agree with the sessions, whether or not they are there; all or none.

        Counts never become less. Of one that says that its session has ended nothing else changes.
        """
        by_key = {session.key: session for session in sessions}
        for keys in chunks(sorted(by_key)):
            with writing(self.alias) as connection:
                rows = Session.objects.using(self.alias).filter(key__in=keys).order_by("key")
                there = {row.key: row for row in locked_rows(rows).only("key", *COUNTS, *CHANGING, *IDENTITY)}
                new = [replace(by_key[key], data={}, inbox=0) for key in keys if key not in there]
                insert_all(connection, Session, [columns_of(connection, session) for session in new])
                changes = {row.pk: _changes(connection, row, by_key[key]) for key, row in there.items()}
                update_all(connection, Session, changes)

    @retried
    def overdue(self, now: datetime, limit: int) -> Sequence[str]:
        """Keys of sessions that have expired by their rows. They may have been used since."""
        rows = Session.objects.using(self.alias).expired(now)
        return list(rows.values_list("key", flat=True)[:limit])

    async def awrite(self, sessions: Sequence[SessionRecord]) -> None:
        await self.arun(self.write, sessions)

    async def aoverdue(self, now: datetime, limit: int) -> Sequence[str]:
        return await self.arun(self.overdue, now, limit)


def _changes(connection: BaseDatabaseWrapper, row: Session, session: SessionRecord) -> dict[str, Any]:
    """The columns to change. Uses that another process has written are not taken back."""
    says = session if row.ended_at is None else row
    adapt = connection.ops.adapt_datetimefield_value
    instants = {name: adapt(getattr(says, name)) for name in CHANGING if name.endswith("_at")}
    counts = {name: max(getattr(row, name), getattr(session, name)) for name in COUNTS}
    identity = {name: getattr(says, name) for name in IDENTITY}
    return {**instants, **identity, "end_reason": says.end_reason, **counts}
