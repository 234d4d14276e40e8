"""Notifications between processes: the names of streams and sessions in which something was stored.

A notification is only a hint. What it names is in the store already, where the poller finds the same name a
little later. Wake-ups bring it at once, where there is a way to.
"""

from __future__ import annotations

from collections.abc import Iterable

from mcp_sessions.delivery.channel_layer import ChannelLayer
from mcp_sessions.delivery.poller import Poller
from mcp_sessions.delivery.protocols import ChangesListener, WakeUps
from mcp_sessions.runtime import Runtime


class Notifications:
    """Those of this process: it sends what it has stored, and hears what the others have."""

    listener: ChangesListener

    def __init__(self, runtime: Runtime) -> None:
        self._wake_ups: WakeUps = ChannelLayer(runtime, lambda: self.listener)
        self._poller = Poller(runtime, self._wake_ups, lambda: self.listener)

    def listen(self) -> None:
        """Hear of other processes from now on, whenever something here waits for it."""
        self._wake_ups.listen()
        self._poller.start()

    def send(self, names: Iterable[str]) -> None:
        """Have the other processes learn that something was stored under these names."""
        self._wake_ups.send(names)

    async def flush(self) -> None:
        """Wait until that was sent: a process that ends at once would take it along."""
        await self._wake_ups.flush()
