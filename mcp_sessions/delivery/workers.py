"""This process among the others: its name, its heartbeat, and what it does about those that died."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from mcp_sessions.background import Outage
from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.identifiers import new_worker_name
from mcp_sessions.logs import context_of
from mcp_sessions.records import BEATS, Takeover
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store
from mcp_sessions.stores.base import BaseSessionStore

logger = logging.getLogger("mcp_sessions.delivery")

JOIN_SECONDS: Final = 5.0
INHERITED: Final = 100
"""Streams of a lost worker taken over by one transaction."""


class Worker:
    """A random name, new at every start. Whoever was taken for dead goes on under another one.

    The heartbeat has a thread of its own: a tool that blocks the loop is slow, not dead. The
    clock is the store's. A worker that could not beat for a while does not judge the others,
    who may have been away with it.
    """

    def __init__(
        self,
        runtime: Runtime,
        on_lost: Callable[[], None],
        on_inherited: Callable[[Sequence[Takeover]], None],
    ) -> None:
        self._runtime = runtime
        self._on_lost = on_lost
        self._on_inherited = on_inherited
        self.name = new_worker_name()
        self.former: list[str] = []
        self._enlisting: asyncio.Task[None] | None = None
        self._beating: str | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._beat_at = -math.inf
        self._steady_since = 0.0

    async def get_name(self) -> str:
        """The name to read and write under: the store knows it, and it beats. Raises StoreUnavailable."""
        while True:
            if self._enlisting is not None and has_failed(self._enlisting):
                # Whoever asks now need not hear of that. Perhaps the store knows the name by now, so another.
                self._enlisting, self.name = None, new_worker_name()
            name, enlisting = self.name, self._enlisting or self._start_enlisting()
            # Whatever it fails of (tables that are not there yet), the next who asks tries again.
            await asyncio.shield(enlisting)
            if name == self.name:
                return name

    async def leave(self) -> None:
        """Beat no more. What is still unfinished is a lost worker's."""
        self._stop.set()
        if self._thread is not None:
            # Not for long: a store that is away may keep it waiting.
            await asyncio.to_thread(self._thread.join, JOIN_SECONDS)
        try:
            for name in (*self.former, self.name) if self._enlisting else ():
                await get_store().aleave(name)
        except StoreUnavailable as error:
            logger.warning("worker %s stops unnoticed, and will be taken for dead: %s", self.name, error)

    def _start_enlisting(self) -> asyncio.Task[None]:
        # Not spawned: whoever wanted the name is told what is wrong, and nobody else need be.
        work, context = self._enlist(self.name), context_of(None)
        self._enlisting = self._runtime.loop.create_task(work, context=context)
        self._enlisting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._enlisting

    async def _enlist(self, name: str) -> None:
        await get_store().aenlist(name)
        logger.info("worker %s begins", name)
        self._beating = name
        if self._thread is None:
            self._thread = get_store().start_thread(self._beat_on, "mcp-heartbeat")

    # -- in the heartbeat's thread -------------------------------------------------------

    def _beat_on(self) -> None:
        # No Periodic, which needs the loop: a tool may block that. The rule for errors is the same.
        store, outage = get_store(), Outage("heartbeat")
        while not self._stop.wait(app_settings.WORKER_TIMEOUT / BEATS):
            if (name := self._beating) is None:
                continue
            try:
                self._beat(store, name)
            except Exception as error:
                # Whatever it is: without a heartbeat this worker would be taken for dead.
                outage.add(self, error)
            else:
                outage.end(self)

    def _beat(self, store: BaseSessionStore, name: str) -> None:
        timeout = app_settings.WORKER_TIMEOUT
        if not store.beat(name):
            self._runtime.loop.call_soon_threadsafe(self._was_lost, name)
            return
        now = time.monotonic()
        if now - self._beat_at > 2 * timeout / BEATS:
            self._steady_since = now
        self._beat_at = now
        if now - self._steady_since >= timeout:
            for lost in set(store.find_lost(timeout)) - {name}:
                text = "worker %s has not been heard for %g s: it is taken for dead"
                logger.warning(text, lost, timeout)
                self._inherit(store, lost, name)

    def _inherit(self, store: BaseSessionStore, lost: str, heir: str) -> None:
        """Take over what a dead worker has left, and see to what was taken over, however far it went."""
        inherited: list[Takeover] = []
        try:
            while (taken := store.take_over(lost, heir, INHERITED)) != Takeover():
                inherited.append(taken)
        finally:
            # The store may have gone away in between: then it is not known what is this worker's now.
            self._runtime.loop.call_soon_threadsafe(self._on_inherited, inherited)

    # -- on the loop ---------------------------------------------------------------------

    def _was_lost(self, name: str) -> None:
        if name != self.name or self._runtime.draining:
            return
        self.name, self._beating = new_worker_name(), None
        # What was being opened under the old name, and nobody inherited, is looked for later.
        self.former = [*self.former, name][-BEATS:]
        logger.warning("worker %s was taken for dead: it goes on as %s", name, self.name)
        self._start_enlisting()
        self._on_lost()


def has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
