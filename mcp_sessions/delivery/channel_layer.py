"""Wake-ups by a channel layer that processes share, such as Redis'."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from channels.layers import InMemoryChannelLayer, channel_layers

from mcp_sessions.background import Coalesced, Outage, Periodic
from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.protocols import ChangesListener
from mcp_sessions.runtime import Runtime

logger = logging.getLogger("mcp_sessions.delivery")

GROUP: Final = "mcp_sessions.notifications"
NAMES: Final = 500
"""Names in one message."""
KEPT: Final = 10_000
"""Names that wait for an unavailable layer."""
SEND_SECONDS: Final = 2.0
TRIAL_SECONDS: Final = 1.0
"""After so long without hearing anything a process sends itself an empty notification."""
MISSES: Final = 2
"""So many of its own notifications unheard, and the process polls."""
REJOIN_TRIALS: Final = 60
"""Layers forget members, some after a day and some when Redis restarts: a process joins again so often."""


class ChannelLayer:
    """Sends to every process that shares the channel layer, and hears what the others send."""

    def __init__(self, runtime: Runtime, get_listener: Callable[[], ChangesListener]) -> None:
        self._get_listener = get_listener
        self._waiting: dict[str, None] = {}
        self._is_listening = False
        self._heard = self._heard_before = self._misses = self._trials = 0
        self._is_missed = False
        self._channel: str | None = None
        self.is_heard = False
        """Whether notifications arrive here, as far as is known."""
        outage = Outage("channel layer", expected=Exception)
        self._sending = Coalesced(runtime, "channel layer: send", self._send_waiting, outage=outage)
        self._receiving = Coalesced(runtime, "channel layer: receive", self._receive, outage=outage)
        self._trying = Periodic(
            runtime, "channel layer: trial", self._try, lambda: TRIAL_SECONDS, outage=outage
        )

    @property
    def layer(self) -> Any:
        """The channel layer, if there is one that other processes share."""
        alias = app_settings.CHANNEL_LAYER
        if alias is None or alias not in channel_layers.configs:
            return None
        layer = channel_layers[alias]
        return None if isinstance(layer, InMemoryChannelLayer) else layer

    # -- sending -------------------------------------------------------------------------

    def send(self, names: Iterable[str]) -> None:
        """Send the names of streams and sessions; what comes while others are sent goes together."""
        if self.layer is None:
            return
        self._waiting.update(dict.fromkeys(names))
        if self._waiting:
            self._sending.request()

    async def flush(self) -> None:
        """Wait until everything was sent, or could not be."""
        if not self._sending.is_idle and not self._sending.is_failing:
            await self._sending.run()

    async def _send_waiting(self) -> None:
        while self._waiting:
            names = list(self._waiting)[:NAMES]
            for name in names:
                del self._waiting[name]
            try:
                await self._send(names)
            except Exception:
                self._waiting = {**dict.fromkeys(names), **self._waiting}
                if len(self._waiting) > KEPT:
                    # They were polled long ago.
                    self._waiting.clear()
                raise

    async def _send(self, names: list[str]) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self.layer.group_send(GROUP, {"type": "notification", "names": names})

    # -- hearing -------------------------------------------------------------------------

    def listen(self) -> None:
        """Hear from now on, if there is a layer to hear."""
        if self._is_listening:
            return
        self._is_listening = True
        if self.layer is not None:
            self._receiving.request()
            self._trying.start()

    async def _receive(self) -> None:
        channel = self._channel or await self._join()
        # Never cancelled while the process lives: some layers are deaf afterwards.
        message = await self.layer.receive(channel)
        self._hear(message.get("names", ()))
        self._receiving.request()

    async def _join(self) -> str:
        channel: str = self._channel or await self.layer.new_channel("mcp_sessions")
        async with asyncio.timeout(SEND_SECONDS):
            await self.layer.group_add(GROUP, channel)
        if self._channel is None:
            self._channel = channel
            await self._send([])
        return channel

    def _hear(self, names: Iterable[str]) -> None:
        self._heard += 1
        if not self.is_heard:
            self.is_heard = True
            logger.info("the channel layer is heard%s", " again" if self._is_missed else "")
            self._is_missed = False
        self._get_listener().on_changes(names)

    async def _try(self) -> None:
        """Find out whether notifications arrive: if none does by itself, send one."""
        self._trials += 1
        self._misses = self._misses + 1 if self._heard_before == self._heard else 0
        self._heard_before = self._heard
        if self._misses >= MISSES and not self._is_missed:
            self.is_heard, self._is_missed = False, True
            logger.warning("the channel layer is not heard: polling until it is")
        if self._channel and (self._misses or self._trials % REJOIN_TRIALS == 0):
            await self._join()
        if self._misses:
            await self._send([])
