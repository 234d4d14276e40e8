"""The verb that gives a session another id."""

from __future__ import annotations

from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier
from mcp_sessions.records import ROTATED, Inbound, Rotation
from mcp_sessions.stores.memory.appending import store_batch
from mcp_sessions.stores.memory.kept import Session
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.transactions import Transactional


class RotatingVerbs(Transactional):
    def rotate(self, key: str, before: str, rotation: Rotation) -> bool:
        with self.transaction() as state:
            session = state.unended(key)
            if session is None or session.digest != before:
                return False
            if rotation.digest in state.keys:
                raise DuplicateIdentifier("A session with this digest is already there.")
            state.set_digest(session, rotation.digest)
            session.previous_until, session.sealed_id = rotation.until, rotation.sealed_id
            if rotation.owner is not None:
                set_owner(state, session, rotation)
            store_batch(state, [Inbound(key, ROTATED)])
            return True


def set_owner(state: State, session: Session, rotation: Rotation) -> None:
    state.unrank(session)
    session.owner, session.principal = rotation.owner or "", rotation.principal
    state.rank(session)


def forget_previous(state: State) -> None:
    """Forget the previous ids whose grace is over."""
    now = timezone.now()
    for key in list(state.previous.values()):
        session = state.sessions[key]
        if session.previous_until is not None and session.previous_until < now:
            state.forget_previous(session)
