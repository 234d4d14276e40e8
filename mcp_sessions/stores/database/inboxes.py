"""The verbs on sessions' inboxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Final

from django.db.models import Q
from django.utils import timezone

from mcp_sessions.models import InboxMessage, Session
from mcp_sessions.records import Mail
from mcp_sessions.stores.database.locking import chunks, lock_session
from mcp_sessions.stores.database.ringing import ring
from mcp_sessions.stores.database.verbs import verb, writing

GONE: Final = Mail(end_reason="expired")
"""What there is to say of a session that was purged: it had ended before, unnoticed."""


def put(alias: str, session: int, position: int, messages: Sequence[str]) -> None:
    """Add messages to the inbox of a locked session, whose last position is given."""
    now = timezone.now()
    rows = [
        InboxMessage(session_id=session, position=number, data=message, created_at=now)
        for number, message in enumerate(messages, position + 1)
    ]
    InboxMessage.objects.using(alias).bulk_create(rows)
    Session.objects.using(alias).filter(pk=session).update(inbox=position + len(rows))


class InboxVerbs:
    alias: str

    @verb
    def post(self, key: str, message: str) -> bool:
        now = timezone.now()
        with writing(self.alias) as connection:
            found = lock_session(self.alias, key, "id", "inbox")
            if found is None:
                return False
            put(self.alias, found[0], found[1], [message])
            ring(connection, [key], connection.ops.adapt_datetimefield_value(now))
            return True

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
