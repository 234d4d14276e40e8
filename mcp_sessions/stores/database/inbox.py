"""The inbox of a session: a stream under the session's key, whose row is made for its first message.

The session's row has the inbox's position, too. Whoever reads a session so knows for nothing from where to
listen, and the row of an inbox that is not used can be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from mcp_sessions.models import Session, Stream, StreamEvent
from mcp_sessions.records import INBOX_KEPT, Reading, StreamRecord
from mcp_sessions.stores.database.appending import Addition
from mcp_sessions.stores.database.locking import LockedStream


def open_inbox(alias: str, session: Session, now: datetime) -> LockedStream:
    """Make the row of a locked session's inbox, which goes on from where it was."""
    at = session.inbox
    row = Stream(name=session.key, session_id=session.pk, kind="inbox", position=at, trimmed=at)
    row.created_at = row.idle_since = now
    row.save(using=alias, force_insert=True)
    return LockedStream(row.pk, row.name, at, 0, False, "", "", at, "inbox")


def keep_bounds(
    connection: BaseDatabaseWrapper, inbox: LockedStream, session: Session, addition: Addition, now: datetime
) -> None:
    """Make room in an inbox for what a batch adds, and note its position in the session's row."""
    trimmed = max(inbox.trimmed, inbox.position - INBOX_KEPT)
    old = Q(position__lte=trimmed)
    for request in {name for id, _, name, _ in addition.events if id == inbox.id and name}:
        old |= Q(name=request)
    StreamEvent.objects.using(connection.alias).filter(old, stream=inbox.id).delete()
    rows = Stream.objects.using(connection.alias).filter(pk=inbox.id)
    rows.update(trimmed=trimmed, idle_since=now)
    Session.objects.using(connection.alias).filter(pk=session.pk).update(inbox=inbox.position)


def last_of_requests(addition: Addition, inboxes: Iterable[int]) -> None:
    """Of the messages that a batch has for one request, only the last is stored."""
    ids = set(inboxes)
    last = {(id, name): position for id, position, name, _ in addition.events if id in ids and name}
    addition.events = [each for each in addition.events if last.get((each[0], each[2]), each[1]) == each[1]]


def read_unopened(alias: str, key: str) -> Reading | None:
    """What there is of the inbox of a session that has no row for it; None if there is no such session."""
    found = _sessions(alias, [key])
    if not found:
        return None
    ((_, ended_at, position, _),) = found
    return Reading((), None if ended_at is None else position, trimmed=position, position=position)


def unopened_inboxes(alias: str, keys: Iterable[str]) -> dict[str, StreamRecord]:
    return {
        key: StreamRecord(
            key, key, "inbox", position, ended_at=ended_at, created_at=created_at, trimmed=position
        )
        for key, ended_at, position, created_at in _sessions(alias, list(keys))
    }


def _sessions(alias: str, keys: list[str]) -> list[tuple[Any, ...]]:
    rows = Session.objects.using(alias).filter(key__in=keys)
    return list(rows.values_list("key", "ended_at", "inbox", "created_at"))
