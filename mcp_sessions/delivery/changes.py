"""What other processes have stored, handed on to what is open and running here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from django.utils import timezone

from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.connections import Connections
from mcp_sessions.delivery.failover import Failover
from mcp_sessions.delivery.inboxes import Inboxes
from mcp_sessions.delivery.topics import Topics
from mcp_sessions.stores import get_store

COMPARED: Final = 2000
"""Streams and inboxes that are compared with the store at a heartbeat. The others have their turn later."""


class Changes:
    """The notifications' listener."""

    def __init__(
        self, connections: Connections, inboxes: Inboxes, topics: Topics, failover: Failover
    ) -> None:
        self._connections = connections
        self._inboxes = inboxes
        self._topics = topics
        self._failover = failover
        self._uncompared: list[str] = []

    @property
    def is_waiting(self) -> bool:
        # Whatever is open or running for a session holds its inbox.
        return len(self._inboxes) > 0 or len(self._topics) > 0

    def on_changes(self, names: Iterable[str]) -> None:
        self._connections.look_again(names)
        self._inboxes.heard(names)
        self._topics.heard(names)

    async def reconcile(self, *, everything: bool = False) -> None:
        """Compare what is open here with the store: some of it at each heartbeat, or everything."""
        self._failover.end_lost_calls()
        self._uncompared = [] if everything else self._uncompared
        await self._compare_some()
        while everything and self._uncompared:
            await self._compare_some()
        before = timezone.now() - timedelta(seconds=app_settings.EVENT_SECONDS)
        await get_store().adelete_unreachable(before, app_settings.PURGE_BATCH)

    async def _compare_some(self) -> None:
        if not self._uncompared:
            self._uncompared = [*(each.stream.name for each in self._connections), *self._inboxes.keys()]
        names, self._uncompared = self._uncompared[:COMPARED], self._uncompared[COMPARED:]
        found = await get_store().afind_streams(names)
        self._inboxes.compare(names, found)
        followers = ((name, self._connections.get(name)) for name in names)
        await self._connections.compare({name: each for name, each in followers if each}, found)
