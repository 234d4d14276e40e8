"""Requests to clients that tools wait to be answered."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.records import CALL
from mcp_sessions.stores.memory.kept import Session
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.transactions import Transactional


class RequestVerbs(Transactional):
    def add_request(self, key: str, request: str, until: datetime, limit: int | None) -> bool:
        with self.transaction() as state:
            if (session := state.unended(key)) is None:
                raise SessionEnded("The session has ended: its client is sent no request.")
            forget_overdue(session)
            others = [name for name in session.pending.keys() - {request} if not name.startswith(CALL)]
            if limit is not None and len(others) >= limit:
                return False
            session.pending[request] = until
            return True

    def drop_request(self, key: str, request: str) -> None:
        with self.transaction() as state:
            if (session := state.unended(key)) is not None:
                session.pending.pop(request, None)
                forget_messages(state, session, request)


def take_request(session: Session, name: str, *, answers: bool) -> bool:
    """Whether the request is pending, which it is no more once it is answered."""
    is_pending = name in session.pending
    if answers:
        session.pending.pop(name, None)
    return is_pending


def forget_messages(state: State, session: Session, request: str) -> None:
    """Those for one request in the session's inbox."""
    if (inbox := state.streams.get(session.key)) is not None:
        inbox.events = [stored for stored in inbox.events if stored.event.name != request]


def forget_overdue(session: Session) -> None:
    now = timezone.now()
    session.pending = {name: until for name, until in session.pending.items() if until > now}
