"""The inbox of a session: a stream under the session's key, whose row is made for its first message.

The session's row has the inbox's position, too. A reader of the session so knows
without another query from where to listen, and the row of an inbox that is not used can be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from mcp_sessions.models import Session, Stream, StreamEvent
from mcp_sessions.records import INBOX_KEPT, Reading, StreamRecord
from mcp_sessions.stores.database.locks import LockedStream


def open_inbox(alias: str, session: Session, now: datetime) -> LockedStream:
    """Make the row of a locked session's inbox, which goes on from where it was."""
    at = session.inbox
    row = Stream(name=session.key, session_id=session.pk, kind="inbox", position=at, trimmed=at)
    row.created_at = row.idle_since = now
    row.save(using=alias, force_insert=True)
    return LockedStream(row.pk, row.name, at, 0, False, "", "", at, "inbox")


def keep_bounds(
    connection: BaseDatabaseWrapper,
    inbox: LockedStream,
    session: Session,
    requests: Iterable[str],
    now: datetime,
) -> None:
    """Make room in an inbox for what a batch adds, and note its position in the session's row.

    Older messages for the requests that the batch has messages for go.
    """
    trimmed = max(inbox.trimmed, inbox.position - INBOX_KEPT)
    old = Q(position__lte=trimmed)
    for request in requests:
        old |= Q(name=request)
    StreamEvent.objects.using(connection.alias).filter(old, stream=inbox.id).delete()
    rows = Stream.objects.using(connection.alias).filter(pk=inbox.id)
    rows.update(trimmed=trimmed, idle_since=now)
    Session.objects.using(connection.alias).filter(pk=session.pk).update(inbox=inbox.position)


def read_unopened(alias: str, key: str) -> Reading | None:
    """The reading of an inbox that has no row; None if there is no such session."""
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
