"""The verbs on sessions' inboxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import takewhile
from typing import Final

from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.records import CALL, INBOX_KEPT, EndReason, Mail
from mcp_sessions.stores.memory.kept import Message, Session
from mcp_sessions.stores.memory.ringing import ring
from mcp_sessions.stores.memory.transactions import Transactional

GONE: Final = Mail(end_reason=EndReason.EXPIRED)
"""What there is to say of a session that was purged: it had ended before, unnoticed."""


class InboxVerbs(Transactional):
    def ask(self, key: str, question: str, until: datetime, limit: int | None) -> bool:
        with self.transaction() as state:
            if (session := state.unended(key)) is None:
                raise SessionEnded("The session has ended: its client is asked nothing.")
            forget_overdue(session)
            others = [name for name in session.questions.keys() - {question} if not name.startswith(CALL)]
            if limit is not None and len(others) >= limit:
                return False
            session.questions[question] = until
            return True

    def unask(self, key: str, question: str) -> None:
        with self.transaction() as state:
            if (session := state.unended(key)) is not None:
                session.questions.pop(question, None)
                forget_said(session, question)

    def post(self, key: str, message: str, question: str = "", *, answers: bool = False) -> bool:
        with self.transaction() as state:
            session = state.unended(key)
            if session is None or (question and question not in session.questions):
                return False
            if question:
                forget_said(session, question)
            if answers:
                del session.questions[question]
            put(session, [message], question)
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


def put(session: Session, messages: Iterable[str], question: str = "") -> None:
    for text in messages:
        session.inbox += 1
        session.messages.append(Message(session.inbox, text, timezone.now(), question))
    del session.messages[:-INBOX_KEPT]


def forget_said(session: Session, question: str) -> None:
    session.messages = [message for message in session.messages if message.question != question]


def forget_overdue(session: Session) -> None:
    now = timezone.now()
    session.questions = {name: until for name, until in session.questions.items() if until > now}


def new_mail(session: Session, position: int) -> Mail:
    new = takewhile(lambda message: message.position > position, reversed(session.messages))
    messages = tuple((message.position, message.text) for message in new)[::-1]
    return Mail(messages, None if session.ended_at is None else session.end_reason)
