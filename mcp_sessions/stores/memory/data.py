"""What tools keep of a session, what it is subscribed to, and which requests to its client are pending."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from mcp_sessions.exceptions import InvalidSessionData, SessionEnded, UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.records import CALL, SessionRecord
from mcp_sessions.stores.memory.kept import Session
from mcp_sessions.stores.memory.records import readable
from mcp_sessions.stores.memory.state import State, Transactional
from mcp_sessions.stores.storable import deserialize, serialize

logger = logging.getLogger("mcp_sessions.stores")


class SessionData(Transactional):
    def lease(self, key: str, token: str, now: datetime, until: datetime) -> Mapping[str, Any] | None:
        with self.transaction() as state:
            session = state.unended(key)
            if session is None or session.expires_at <= now:
                raise SessionEnded("The session has ended: its data cannot be edited.")
            if session.lease_token != token and not is_free(session, now):
                return None
            data = read_data(session)
            session.lease_token, session.lease_until = token, until
            return data

    def renew(self, key: str, token: str, until: datetime) -> bool:
        with self.transaction() as state:
            session = state.unended(key)
            if session is None or session.lease_token != token:
                return False
            session.lease_until = until
            return True

    def release(self, key: str, token: str, data: Mapping[str, Any] | None) -> bool:
        try:
            text = None if data is None else serialize(data)
        except InvalidSessionData:
            self._give_back(key, token, None)
            raise
        return self._give_back(key, token, text)

    def _give_back(self, key: str, token: str, text: str | None) -> bool:
        with self.transaction() as state:
            if (session := state.unended(key)) is None:
                raise SessionEnded("The session has ended: nothing of the edit was written.")
            if session.lease_token != token:
                return False
            session.lease_token, session.lease_until = "", None
            session.data = session.data if text is None else text
            return True

    def subscribe(self, key: str, uri: str, limit: int | None = None) -> bool:
        with self.transaction() as state:
            if (session := state.unended(key)) is None:
                return True
            if limit is not None and len(session.subscriptions - {uri}) >= limit:
                return False
            state.subscribe(session, uri)
            return True

    def unsubscribe(self, key: str, uri: str) -> None:
        with self.transaction() as state:
            if (session := state.unended(key)) is not None:
                state.unsubscribe(session, uri)

    def subscribers(self, uri: str, now: datetime) -> Sequence[SessionRecord]:
        with self.transaction() as state:
            found = [state.sessions[key] for key in state.subscribers.get(uri, ())]
            return list(readable(session for session in found if session.is_live(now)))

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


def is_free(session: Session, now: datetime) -> bool:
    return session.lease_until is None or session.lease_until < now


def read_data(session: Session) -> Mapping[str, Any]:
    try:
        return deserialize(session.data)
    except UnreadableData as error:
        logger.error("session %s cannot be edited: %s", session.key, error, extra=about(session.key))
        raise SessionEnded("The session's data cannot be read: it stays as it is.") from error


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
