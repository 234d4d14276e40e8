"""What other processes have stored, handed on to what is open and running here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone

from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.connections import Connections
from mcp_sessions.delivery.failover import Failover
from mcp_sessions.delivery.inboxes import Inboxes
from mcp_sessions.delivery.topics import Topics
from mcp_sessions.stores import get_store


class Changes:
    """The notifications' listener."""

    def __init__(
        self, connections: Connections, inboxes: Inboxes, topics: Topics, failover: Failover
    ) -> None:
        self._connections = connections
        self._inboxes = inboxes
        self._topics = topics
        self._failover = failover

    @property
    def is_waiting(self) -> bool:
        # Whatever is open or running for a session holds its inbox.
        return len(self._inboxes) > 0 or len(self._topics) > 0

    def on_changes(self, names: Iterable[str]) -> None:
        self._connections.look_again(names)
        self._inboxes.heard(names)
        self._topics.heard(names)

    async def reconcile(self) -> None:
        """Compare all that is open here with the store, by one query."""
        self._failover.end_lost_calls()
        followers = {follower.stream.name: follower for follower in self._connections}
        found = await get_store().afind_streams([*followers, *self._inboxes.keys()])
        self._inboxes.compare(found)
        await self._connections.compare(followers, found)
        before = timezone.now() - timedelta(seconds=app_settings.EVENT_SECONDS)
        await get_store().adelete_unreachable(before, app_settings.PURGE_BATCH)
