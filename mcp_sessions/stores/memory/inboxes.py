"""The verbs on sessions' inboxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Final

from django.utils import timezone

from mcp_sessions.records import EndReason, Mail
from mcp_sessions.stores.memory.kept import Message, Session
from mcp_sessions.stores.memory.ringing import ring
from mcp_sessions.stores.memory.transactions import Transactional

GONE: Final = Mail(end_reason=EndReason.EXPIRED)
"""What there is to say of a session that was purged: it had ended before, unnoticed."""


class InboxVerbs(Transactional):
    def post(self, key: str, message: str) -> bool:
        with self.transaction() as state:
            if (session := state.unended(key)) is None:
                return False
            put(session, [message])
            ring(state, [key])
            return True

    def read_inboxes(self, positions: Mapping[str, int]) -> Mapping[str, Mail]:
        with self.transaction() as state:
            sessions = state.sessions
            mail = {
                key: new_mail(sessions[key], position) if key in sessions else GONE
                for key, position in positions.items()
            }
            return {key: new for key, new in mail.items() if new != Mail()}


def put(session: Session, messages: Iterable[str]) -> None:
    for text in messages:
        session.inbox += 1
        session.messages.append(Message(session.inbox, text, timezone.now()))


def new_mail(session: Session, position: int) -> Mail:
    new = takewhile(lambda message: message.position > position, reversed(session.messages))
    messages = tuple((message.position, message.text) for message in new)[::-1]
    return Mail(messages, None if session.ended_at is None else session.end_reason)
