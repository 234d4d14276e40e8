"""Requests to clients that tools wait to be answered."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.models import PendingRequest, StreamEvent
from mcp_sessions.records import CALL
from mcp_sessions.stores.database.locking import lock_session
from mcp_sessions.stores.database.verbs import verb, writing


class RequestVerbs:
    alias: str

    @verb
    def add_request(self, key: str, request: str, until: datetime, limit: int | None) -> bool:
        with writing(self.alias):
            if (found := lock_session(self.alias, key, "id")) is None:
                raise SessionEnded("The session has ended: its client is sent no request.")
            rows = PendingRequest.objects.using(self.alias)
            pending = rows.filter(session=found[0], waits_until__gt=timezone.now())
            others = pending.exclude(name=request).exclude(name__startswith=CALL)
            if limit is not None and others.count() >= limit:
                return False
            rows.update_or_create(session_id=found[0], name=request, defaults={"waits_until": until})
            return True

    @verb
    def drop_request(self, key: str, request: str) -> None:
        with writing(self.alias):
            if (found := lock_session(self.alias, key, "id")) is not None:
                pending_request(self.alias, found[0], request).delete()
                messages = StreamEvent.objects.using(self.alias).filter(stream__name=key, name=request)
                messages.delete()


def pending_request(alias: str, session: int, name: str) -> QuerySet[PendingRequest]:
    return PendingRequest.objects.using(alias).filter(session=session, name=name)


def take_request(alias: str, session: int, name: str, *, answers: bool) -> bool:
    """Whether the request of a locked session is pending, which it is no more once it is answered."""
    found = pending_request(alias, session, name)
    return bool(found.delete()[0]) if answers else found.exists()
