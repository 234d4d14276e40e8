"""The bell between processes: a channel layer that is shared tells at once what the poller would find.

A bell is only a hint. What it names is in the store already, and whoever does not hear it finds
the same names there a little later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from channels.layers import InMemoryChannelLayer, channel_layers

from mcp_sessions.background import Coalesced, Outage, Periodic
from mcp_sessions.conf import app_settings
from mcp_sessions.runtime import Runtime

logger = logging.getLogger("mcp_sessions.delivery")

GROUP: Final = "mcp_sessions.bell"
NAMES: Final = 500
"""Names in one message."""
KEPT: Final = 10_000
"""Names that wait for a layer that is away."""
SEND_SECONDS: Final = 2.0
TRIAL_SECONDS: Final = 1.0
"""After so long without hearing anything a process rings for itself."""
MISSES: Final = 2
"""So many of its own bells unheard, and the process polls."""
REJOIN_TRIALS: Final = 60
"""Layers forget members, some after a day and some when Redis restarts: join again so often."""


class Bell:
    """Rings in every process that shares the channel layer, and hears what the others ring."""

    def __init__(self, runtime: Runtime, on_heard: Callable[[Iterable[str]], None]) -> None:
        self._on_heard = on_heard
        self._waiting: dict[str, None] = {}
        self._is_listening = False
        self._heard = self._heard_before = self._misses = self._trials = 0
        self._is_missed = False
        self._channel: str | None = None
        self.is_heard = False
        """Whether bells arrive here, as far as is known."""
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

    # -- ringing -------------------------------------------------------------------------

    def ring(self, names: Iterable[str]) -> None:
        """Ring for these streams and sessions; what is rung while a bell is on its way goes together."""
        if self.layer is None:
            return
        self._waiting.update(dict.fromkeys(names))
        if self._waiting:
            self._sending.request()

    async def flush(self) -> None:
        """Wait until everything was rung: a process that ends at once would take it along."""
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
                    # They have been polled for long since.
                    self._waiting.clear()
                raise

    async def _send(self, names: list[str]) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self.layer.group_send(GROUP, {"type": "bell", "names": names})

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
        self._on_heard(names)

    async def _try(self) -> None:
        """Know whether bells arrive: if none does by itself, ring one."""
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
