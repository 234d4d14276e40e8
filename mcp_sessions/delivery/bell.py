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
        self._runtime = runtime
        self._on_heard = on_heard
        self._waiting: dict[str, None] = {}
        self._ringing: asyncio.Task[None] | None = None
        self._is_silent = False
        self._is_listening = False
        self._heard = 0
        self._is_missed = False
        self._channel: str | None = None
        self.is_heard = False
        """Whether bells arrive here, as far as is known."""

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
        if self._waiting and self._ringing is None:
            self._ringing = self._runtime.spawn(self._ring(), "bell")

    async def flush(self) -> None:
        """Wait until everything was rung: a process that ends at once would take it along."""
        if self._ringing is not None:
            await asyncio.wait({self._ringing})

    async def _ring(self) -> None:
        try:
            while self._waiting:
                names = list(self._waiting)[:NAMES]
                for name in names:
                    del self._waiting[name]
                if not await self._send(names):
                    self._waiting = {**dict.fromkeys(names), **self._waiting}
                    break
        finally:
            if len(self._waiting) > KEPT:
                # They have been polled for long since.
                self._waiting.clear()
            self._ringing = None

    async def _send(self, names: list[str]) -> bool:
        try:
            sending = self.layer.group_send(GROUP, {"type": "bell", "names": names})
            async with asyncio.timeout(SEND_SECONDS):
                await sending
        except Exception as error:
            # Whatever a layer raises: the others poll meanwhile, and once in the log is enough.
            if not self._is_silent:
                logger.warning("the channel layer cannot be rung, other processes poll: %r", error)
            self._is_silent = True
            return False
        self._is_silent = False
        return True

    # -- hearing -------------------------------------------------------------------------

    def listen(self) -> None:
        """Hear from now on, if there is a layer to hear."""
        if self._is_listening:
            return
        self._is_listening = True
        if self.layer is not None:
            self._runtime.spawn(self._listen(), "bell")
            self._runtime.spawn(self._try(), "bell")

    async def _listen(self) -> None:
        while True:
            try:
                channel = self._channel or await self._join()
                # Never cancelled while the process lives: some layers are deaf afterwards.
                message = await self.layer.receive(channel)
            except Exception as error:
                logger.debug("the channel layer fails: %r", error)
                await asyncio.sleep(TRIAL_SECONDS)
            else:
                self._hear(message.get("names", ()))

    async def _join(self) -> str:
        channel: str = self._channel or await self.layer.new_channel("mcp_sessions")
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
        trials = misses = heard = 0
        while True:
            await asyncio.sleep(TRIAL_SECONDS)
            trials += 1
            misses = misses + 1 if heard == self._heard else 0
            heard = self._heard
            if misses >= MISSES and not self._is_missed:
                self.is_heard, self._is_missed = False, True
                logger.warning("the channel layer is not heard: polling until it is")
            if self._channel and (misses or trials % REJOIN_TRIALS == 0):
                await self._attempt(self._join())
            if misses and await self._send([]):
                self.ring(())

    async def _attempt(self, joining: Any) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await joining
        except Exception as error:
            logger.debug("the channel layer fails: %r", error)
