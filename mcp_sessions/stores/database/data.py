"""What tools keep of a session, what it is subscribed to, and which requests to its client are pending."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from mcp_sessions.exceptions import InvalidSessionData, SessionEnded, UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.models import PendingRequest, Session, StreamEvent, Subscription
from mcp_sessions.records import CALL, SessionRecord
from mcp_sessions.stores.database.locks import lock_session
from mcp_sessions.stores.database.records import fetch_sessions
from mcp_sessions.stores.database.statements import table
from mcp_sessions.stores.database.transactions import retried, writing
from mcp_sessions.stores.storable import deserialize, digest_of_uri, serialize, storable_text

logger = logging.getLogger("mcp_sessions.stores")


class SessionData:
    alias: str

    @retried
    def lease(self, key: str, token: str, now: datetime, until: datetime) -> Mapping[str, Any] | None:
        sessions = Session.objects.using(self.alias)
        with writing(self.alias):
            free = sessions.leasable(token, now).filter(key=key)
            if free.update(lease_token=token, lease_until=until):
                return self._data(key, sessions.values_list("data", flat=True).get(key=key))
            if sessions.live(now).filter(key=key).exists():
                return None
        raise SessionEnded("The session has ended: its data cannot be edited.")

    def _data(self, key: str, text: str) -> Mapping[str, Any]:
        try:
            return deserialize(text)
        except UnreadableData as error:
            logger.error("session %s cannot be edited: %s", key, error, extra=about(key))
            raise SessionEnded("The session's data cannot be read: it stays as it is.") from error

    @retried
    def renew(self, key: str, token: str, until: datetime) -> bool:
        with writing(self.alias):
            held = Session.objects.using(self.alias).leased(token).filter(key=key)
            return bool(held.update(lease_until=until))

    @retried
    def release(self, key: str, token: str, data: Mapping[str, Any] | None) -> bool:
        try:
            changes = {} if data is None else {"data": serialize(data)}
        except InvalidSessionData:
            self._give_back(key, token)
            raise
        return self._give_back(key, token, **changes)

    def _give_back(self, key: str, token: str, **changes: Any) -> bool:
        sessions = Session.objects.using(self.alias)
        with writing(self.alias):
            held = sessions.leased(token).filter(key=key)
            if held.update(lease_token="", lease_until=None, **changes):
                return True
            if sessions.unended().filter(key=key).exists():
                return False
        raise SessionEnded("The session has ended: nothing of the edit was written.")

    @retried
    def subscribe(self, key: str, uri: str, limit: int | None = None) -> bool:
        rows, digest = Subscription.objects.using(self.alias), digest_of_uri(uri)
        with writing(self.alias):
            if (found := lock_session(self.alias, key, "id")) is None:
                return True
            others = rows.filter(session=found[0]).exclude(uri_digest=digest)
            if limit is not None and others.count() >= limit:
                return False
            row = Subscription(session_id=found[0], uri=storable_text(uri), uri_digest=digest)
            rows.bulk_create([row], ignore_conflicts=True)
            return True

    @retried
    def unsubscribe(self, key: str, uri: str) -> None:
        with writing(self.alias):
            found = lock_session(self.alias, key, "id")
            if found is not None:
                rows = Subscription.objects.using(self.alias)
                rows.filter(session_id=found[0], uri_digest=digest_of_uri(uri)).delete()

    @retried
    def subscribers(self, uri: str, now: datetime) -> Sequence[SessionRecord]:
        rest = (
            f"JOIN {table(Subscription)} u ON u.session_id = s.id"
            " WHERE u.uri_digest = %s AND s.ended_at IS NULL ORDER BY s.id"
        )
        found = fetch_sessions(self.alias, rest, [digest_of_uri(uri)])
        return [session for session in found if session.is_live(now)]

    @retried
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

    @retried
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
