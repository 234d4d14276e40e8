"""This process among the workers: its name, its heartbeat, and the takeover from workers that are lost."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from typing import Final

from mcp_sessions.background import Outage
from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.protocols import WorkerListener
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.identifiers import new_worker_name
from mcp_sessions.logs import context_of
from mcp_sessions.records import BEATS, Takeover
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store
from mcp_sessions.stores.base import BaseSessionStore

logger = logging.getLogger("mcp_sessions.delivery")

JOIN_SECONDS: Final = 5.0
TAKEN_OVER: Final = 100
"""Streams of a lost worker taken over by one transaction."""


class Worker:
    """A random name, new at every start. A worker that was declared lost goes on under another name.

    The heartbeat has a thread of its own: a worker whose tool blocks the loop is slow, and not lost. The
    clock is the store's. A worker whose own heartbeats have failed declares nobody lost for WORKER_TIMEOUT,
    since the store may have been unavailable for the others, too.
    """

    listener: WorkerListener

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.name = new_worker_name()
        self.former: list[str] = []
        self._registration: asyncio.Task[None] | None = None
        self._heartbeat_name: str | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._heartbeat_at = -math.inf
        self._steady_since = 0.0

    async def get_name(self) -> str:
        """The name to read and write under, once the store knows it. Raises StoreUnavailable."""
        while True:
            if self._registration is not None and has_failed(self._registration):
                # This caller gets a new attempt. The store may know the name by now, so it gets another one.
                self._registration, self.name = None, new_worker_name()
            name, enlisting = self.name, self._registration or self._start_registration()
            # Whatever the reason is (missing tables, for instance), the next caller tries again.
            await asyncio.shield(enlisting)
            if name == self.name:
                return name

    async def leave(self) -> None:
        """End the heartbeat. Other workers take over what is unfinished."""
        self._stop.set()
        if self._thread is not None:
            # Not for long: an unavailable store may keep it waiting.
            await asyncio.to_thread(self._thread.join, JOIN_SECONDS)
        try:
            for name in (*self.former, self.name) if self._registration else ():
                await get_store().aleave(name)
        except StoreUnavailable as error:
            logger.warning("worker %s cannot sign off, and will be declared lost: %s", self.name, error)

    def _start_registration(self) -> asyncio.Task[None]:
        # Not spawned: the caller gets the error, and no log line is needed.
        work, context = self._register(self.name), context_of(None)
        self._registration = self._runtime.loop.create_task(work, context=context)
        self._registration.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._registration

    async def _register(self, name: str) -> None:
        await get_store().aenlist(name)
        logger.info("worker %s begins", name)
        self._heartbeat_name = name
        if self._thread is None:
            self._thread = get_store().start_thread(self._run_heartbeat, "mcp-heartbeat")

    # -- in the heartbeat's thread -------------------------------------------------------

    def _run_heartbeat(self) -> None:
        # No Periodic, which needs the loop: a tool may block that. The rule for errors is the same.
        store, outage = get_store(), Outage("heartbeat")
        while not self._stop.wait(app_settings.WORKER_TIMEOUT / BEATS):
            if (name := self._heartbeat_name) is None:
                continue
            try:
                self._send_heartbeat(store, name)
            except Exception as error:
                # Whatever it is: without a heartbeat this worker would be declared lost.
                outage.add(self, error)
            else:
                outage.end(self)

    def _send_heartbeat(self, store: BaseSessionStore, name: str) -> None:
        timeout = app_settings.WORKER_TIMEOUT
        if not store.beat(name):
            self._runtime.loop.call_soon_threadsafe(self._was_lost, name)
            return
        now = time.monotonic()
        if now - self._heartbeat_at > 2 * timeout / BEATS:
            self._steady_since = now
        self._heartbeat_at = now
        if now - self._steady_since >= timeout:
            for lost in set(store.find_lost(timeout)) - {name}:
                text = "worker %s is declared lost: it has missed its heartbeats for %g s"
                logger.warning(text, lost, timeout)
                self._take_over(store, lost, name)

    def _take_over(self, store: BaseSessionStore, lost: str, name: str) -> None:
        """Take over what a lost worker has left; what was taken over is seen to, however far that went."""
        taken: list[Takeover] = []
        try:
            while (some := store.take_over(lost, name, TAKEN_OVER)) != Takeover():
                taken.append(some)
        finally:
            # The store may have become unavailable in between: then it is unknown what is this worker's now.
            self._runtime.loop.call_soon_threadsafe(self.listener.on_taken_over, taken)

    # -- on the loop ---------------------------------------------------------------------

    def _was_lost(self, name: str) -> None:
        if name != self.name or self._runtime.draining:
            return
        self.name, self._heartbeat_name = new_worker_name(), None
        # What was being opened under the old name, and nobody took over, is ended later.
        self.former = [*self.former, name][-BEATS:]
        logger.warning("worker %s was declared lost: it goes on as %s", name, self.name)
        self._start_registration()
        self.listener.on_lost()


def has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
