"""The verbs on sessions that live."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice, takewhile
from typing import Any

from mcp_sessions.exceptions import DuplicateIdentifier, UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.records import NO_LIMITS, EndReason, Limits, SessionRecord, Touch
from mcp_sessions.stores.memory.ending import end_session
from mcp_sessions.stores.memory.kept import Session
from mcp_sessions.stores.memory.limits import in_the_way
from mcp_sessions.stores.memory.records import new_session, read_metadata, readable, session_record
from mcp_sessions.stores.memory.ringing import ring
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.transactions import Transactional
from mcp_sessions.stores.storable import storable_json

logger = logging.getLogger("mcp_sessions.stores")


class SessionVerbs(Transactional):
    def create(self, session: SessionRecord, limits: Limits = NO_LIMITS) -> Sequence[SessionRecord]:
        new = new_session(session)
        with self.transaction() as state:
            if session.key in state.sessions or session.digest in state.keys:
                raise DuplicateIdentifier("A session with this key or digest is already there.")
            replaced = in_the_way(state, new, limits)
            records = list(readable(replaced))
            for each in replaced:
                end_session(state, each, session.created_at, EndReason.REPLACED, session.created_at)
            ring(state, [each.key for each in replaced])
            state.add_session(new)
            return records

    def load(self, digest: str) -> SessionRecord | None:
        with self.transaction() as state:
            found = {*filter(None, (state.keys.get(digest), state.previous.get(digest)))}
            return find(state, found.pop()) if len(found) == 1 else None

    def load_by_key(self, key: str) -> SessionRecord | None:
        with self.transaction() as state:
            return find(state, key)

    def live_sessions(self, server: str, now: datetime, after: str, limit: int) -> Sequence[SessionRecord]:
        with self.transaction() as state:
            keys = sorted(key for key in state.group(server).by_end if key > after)
            live = (state.sessions[key] for key in keys if state.sessions[key].is_live(now))
            return list(islice(readable(live), limit))

    def keys_of(self, server: str, principal: str, now: datetime, limit: int) -> Sequence[str]:
        with self.transaction() as state:
            keys = state.group(server, principal).by_end
            return list(islice((key for key in keys if state.sessions[key].is_live(now)), limit))

    def save_metadata(self, key: str, changes: Mapping[str, Any]) -> bool:
        text = json.dumps(storable_json(changes))
        with self.transaction() as state:
            session = state.unended(key)
            return session is not None and merge_metadata(session, json.loads(text))

    def touch(self, touches: Sequence[Touch]) -> Sequence[str]:
        with self.transaction() as state:
            for touch in touches:
                session = state.sessions.get(touch.key)
                if session is not None and touch.last_accessed_at < session.expires_at:
                    add_touch(session, touch)
                    state.rank(session)
            return [touch.key for touch in touches if state.unended(touch.key) is None]

    def warn(self, key: str, expires_at: datetime) -> bool:
        with self.transaction() as state:
            session = state.unended(key)
            if session is None or session.is_warned_of(expires_at):
                return False
            session.warned_for = expires_at
            return True

    def expiring(self, server: str, now: datetime, before: datetime, limit: int) -> Sequence[SessionRecord]:
        with self.transaction() as state:
            ordered = (state.sessions[key] for key in state.group(server).by_end)
            soon = takewhile(lambda session: session.expires_at <= before, ordered)
            unwarned = (each for each in soon if each.is_live(now) and not each.is_warned_of(each.expires_at))
            return list(islice(readable(unwarned), limit))


def find(state: State, key: str) -> SessionRecord | None:
    session = state.sessions.get(key)
    return None if session is None else session_record(session)


def merge_metadata(session: Session, changes: Mapping[str, Any]) -> bool:
    """False, with a log line, if what is there cannot be read: it stays as it is."""
    try:
        session.metadata = json.dumps({**read_metadata(session), **changes})
    except UnreadableData as error:
        logger.error("session %s cannot be changed: %s", session.key, error, extra=about(session.key))
        return False
    return True


def add_touch(session: Session, touch: Touch) -> None:
    session.requests += touch.requests
    session.connections += touch.connections
    if session.ended_at is not None:
        return
    session.last_accessed_at = max(session.last_accessed_at, touch.last_accessed_at)
    session.expires_at = max(session.expires_at, touch.expires_at)
    session.timeout_at = max(session.timeout_at, touch.timeout_at)
