"""The verbs on a session's data and subscriptions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mcp_sessions.exceptions import InvalidSessionData, SessionEnded, UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.memory.kept import Session
from mcp_sessions.stores.memory.records import readable
from mcp_sessions.stores.memory.transactions import Transactional
from mcp_sessions.stores.storable import deserialize, serialize

logger = logging.getLogger("mcp_sessions.stores")


class DataVerbs(Transactional):
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


def is_free(session: Session, now: datetime) -> bool:
    return session.lease_until is None or session.lease_until < now


def read_data(session: Session) -> Mapping[str, Any]:
    try:
        return deserialize(session.data)
    except UnreadableData as error:
        logger.error("session %s cannot be edited: %s", session.key, error, extra=about(session.key))
        raise SessionEnded("The session's data cannot be read: it stays as it is.") from error
