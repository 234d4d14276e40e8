"""The verbs on sessions' inboxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Final

from django.db.models import Q, QuerySet
from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.models import InboxMessage, Question, Session
from mcp_sessions.records import CALL, INBOX_KEPT, Mail
from mcp_sessions.stores.database.locking import chunks, lock_session
from mcp_sessions.stores.database.ringing import ring
from mcp_sessions.stores.database.verbs import verb, writing

GONE: Final = Mail(end_reason="expired")
"""What there is to say of a session that was purged: it had ended before, unnoticed."""


TRIMMED: Final = 50
"""Once in so many messages the oldest are looked for."""


def put(alias: str, session: int, position: int, messages: Sequence[str], question: str = "") -> None:
    """Add messages to the inbox of a locked session, whose last position is given."""
    now = timezone.now()
    rows = [
        InboxMessage(session_id=session, position=number, data=message, created_at=now, question=question)
        for number, message in enumerate(messages, position + 1)
    ]
    InboxMessage.objects.using(alias).bulk_create(rows)
    last = position + len(rows)
    Session.objects.using(alias).filter(pk=session).update(inbox=last)
    if last > INBOX_KEPT and last // TRIMMED > position // TRIMMED:
        mine = InboxMessage.objects.using(alias).filter(session=session)
        mine.filter(position__lte=last - INBOX_KEPT).delete()


class InboxVerbs:
    alias: str

    @verb
    def ask(self, key: str, question: str, until: datetime, limit: int | None) -> bool:
        with writing(self.alias):
            if (found := lock_session(self.alias, key, "id")) is None:
                raise SessionEnded("The session has ended: its client is asked nothing.")
            rows = Question.objects.using(self.alias)
            mine = rows.filter(session=found[0], waits_until__gt=timezone.now())
            others = mine.exclude(name=question).exclude(name__startswith=CALL)
            if limit is not None and others.count() >= limit:
                return False
            rows.update_or_create(session_id=found[0], name=question, defaults={"waits_until": until})
            return True

    @verb
    def unask(self, key: str, question: str) -> None:
        with writing(self.alias):
            if (found := lock_session(self.alias, key, "id")) is not None:
                self._questions(found[0], question).delete()
                self._forget_said(found[0], question)

    @verb
    def post(self, key: str, message: str, question: str = "", *, answers: bool = False) -> bool:
        with writing(self.alias) as connection:
            found = lock_session(self.alias, key, "id", "inbox")
            if found is None or (question and not self._take_question(found[0], question, answers)):
                return False
            put(self.alias, found[0], found[1], [message], question)
            ring(connection, [key])
            return True

    def _take_question(self, session: int, question: str, answers: bool) -> bool:
        """Whether it is waited for; then what was said to it before makes room."""
        mine = self._questions(session, question)
        is_waited_for = bool(mine.delete()[0]) if answers else mine.exists()
        if is_waited_for:
            self._forget_said(session, question)
        return is_waited_for

    def _questions(self, session: int, question: str) -> QuerySet[Question]:
        return Question.objects.using(self.alias).filter(session=session, name=question)

    def _forget_said(self, session: int, question: str) -> None:
        InboxMessage.objects.using(self.alias).filter(session=session, question=question).delete()

    @verb
    def read_inboxes(self, positions: Mapping[str, int]) -> Mapping[str, Mail]:
        found: dict[str, Mail] = {}
        for chunk in chunks(list(positions)):
            rows = Session.objects.using(self.alias).filter(key__in=chunk)
            there = {
                row[0]: row[1:] for row in rows.values_list("key", "pk", "inbox", "ended_at", "end_reason")
            }
            messages = self._messages(
                {pk: positions[key] for key, (pk, inbox, *_) in there.items() if inbox > positions[key]}
            )
            for key in chunk:
                pk, _, ended_at, reason = there.get(key, (0, 0, None, ""))
                mail = GONE if not pk else Mail(tuple(messages[pk]), reason if ended_at else None)
                if mail != Mail():
                    found[key] = mail
        return found

    def _messages(self, behind: Mapping[int, int]) -> Mapping[int, list[tuple[int, str]]]:
        """(position, text) of the messages behind a position, by the session's id."""
        found: dict[int, list[tuple[int, str]]] = defaultdict(list)
        if not behind:
            return found
        new = reduce(or_, (Q(session=pk, position__gt=position) for pk, position in behind.items()))
        rows = InboxMessage.objects.using(self.alias).filter(new).order_by("session", "position")
        for pk, position, data in rows.values_list("session", "position", "data"):
            found[pk].append((position, data))
        return found
