"""The verbs on a session's data and subscriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mcp_sessions.exceptions import InvalidSessionData, SessionEnded
from mcp_sessions.models import Session, Subscription
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.database.locking import lock_session
from mcp_sessions.stores.database.rows import fetch_sessions
from mcp_sessions.stores.database.verbs import table, verb, writing
from mcp_sessions.stores.storable import checked_data, digest_of_uri, storable_text


class DataVerbs:
    alias: str

    @verb
    def lease(self, key: str, token: str, now: datetime, until: datetime) -> Mapping[str, Any] | None:
        sessions = Session.objects.using(self.alias)
        with writing(self.alias):
            free = sessions.leasable(token, now).filter(key=key)
            if free.update(lease_token=token, lease_until=until):
                data: Mapping[str, Any] = sessions.values_list("data", flat=True).get(key=key)
                return data
            if sessions.unended().filter(key=key).exists():
                return None
        raise SessionEnded("The session has ended: its data cannot be edited.")

    @verb
    def release(self, key: str, token: str, data: Mapping[str, Any] | None) -> bool:
        try:
            changes = {} if data is None else {"data": checked_data(data)}
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

    @verb
    def subscribe(self, key: str, uri: str) -> None:
        with writing(self.alias):
            found = lock_session(self.alias, key, "pk")
            if found is not None:
                row = Subscription(session_id=found[0], uri=storable_text(uri), uri_digest=digest_of_uri(uri))
                Subscription.objects.using(self.alias).bulk_create([row], ignore_conflicts=True)

    @verb
    def unsubscribe(self, key: str, uri: str) -> None:
        with writing(self.alias):
            found = lock_session(self.alias, key, "pk")
            if found is not None:
                rows = Subscription.objects.using(self.alias)
                rows.filter(session_id=found[0], uri_digest=digest_of_uri(uri)).delete()

    @verb
    def subscribers(self, uri: str, now: datetime) -> Sequence[SessionRecord]:
        rest = (
            f"JOIN {table(Subscription)} u ON u.session_id = s.id"
            " WHERE u.uri_digest = %s AND s.ended_at IS NULL ORDER BY s.id"
        )
        found = fetch_sessions(self.alias, rest, [digest_of_uri(uri)])
        return [session for session in found if session.is_live(now)]
