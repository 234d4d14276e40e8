"""The rows of sessions that another store keeps: for the admin, and never read to serve a request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mcp_sessions.models import Session
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.base import awaited
from mcp_sessions.stores.database.store import DatabaseSessionStore
from mcp_sessions.stores.database.verbs import verb, writing


class SlimRows(DatabaseSessionStore):
    """A database store that has sessions alone: no data, no streams."""

    @verb
    def refresh(self, session: SessionRecord) -> None:
        """Have the row say what the session says."""
        with writing(self.alias):
            Session.objects.using(self.alias).unended().filter(key=session.key).update(
                last_accessed_at=session.last_accessed_at,
                expires_at=session.expires_at,
                timeout_at=session.timeout_at,
                requests=session.requests,
                connections=session.connections,
            )

    def close_row(self, session: SessionRecord, at: datetime, reason: str) -> None:
        """The session is over."""
        self.refresh(session)
        self.end(session.key, at, reason)

    @verb
    def overdue(self, now: datetime, limit: int) -> Sequence[str]:
        """Keys of sessions that are over by what their rows say; they may have been used since."""
        rows = Session.objects.using(self.alias).expired(now)
        return list(rows.values_list("key", flat=True)[:limit])

    arefresh = awaited(refresh)
    aclose_row = awaited(close_row)
    aoverdue = awaited(overdue)
