"""How a process comes to rest: connections close, calls finish, and what they leave is stored and sent."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from mcp_sessions.backpressure import hurry_all
from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.activity import Activity
from mcp_sessions.delivery.calls import Calls
from mcp_sessions.delivery.connections import Connections
from mcp_sessions.delivery.notifications import Notifications
from mcp_sessions.delivery.workers import Worker
from mcp_sessions.delivery.writer import Writer
from mcp_sessions.runtime import Phase, Runtime

STOP_SECONDS: Final = 5.0
"""How long a stopping process waits for calls that were cancelled to say so in their streams."""
STOPPED: Final = "The server stopped before the call was finished: its outcome is unknown"

logger = logging.getLogger("mcp_sessions.delivery")


class Drain:
    """Happens once, whoever asks for it."""

    def __init__(
        self,
        runtime: Runtime,
        activity: Activity,
        calls: Calls,
        connections: Connections,
        writer: Writer,
        worker: Worker,
        notifications: Notifications,
    ) -> None:
        self._runtime = runtime
        self._activity = activity
        self._calls = calls
        self._connections = connections
        self._writer = writer
        self._worker = worker
        self._notifications = notifications
        self._draining: asyncio.Future[None] | None = None
        runtime.at_shutdown(Phase.DRAIN, self.run)

    async def run(self) -> None:
        """Wait for the drain, which begins with the first call."""
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())
        await asyncio.shield(self._draining)

    async def _drain(self) -> None:
        self._runtime.begin_drain()
        hurry_all()
        await self._end_calls()
        await self._writer.flush(STOP_SECONDS)
        await self._connections.save()
        await self._worker.leave()
        await self._notifications.flush()

    async def _end_calls(self) -> None:
        """Calls have DRAIN_SECONDS to finish. The clients of the rest learn that their worker is gone."""
        # A reply stays open while its call runs here: a client that came back would find nobody yet.
        self._connections.drain(but=self._calls.streams)
        await self._activity.until_over(app_settings.DRAIN_SECONDS)
        if unfinished := self._calls.stop(STOPPED):
            text = "stopping: %d calls are unfinished after DRAIN_SECONDS (%g s), and end with worker_lost"
            logger.warning(text, unfinished, app_settings.DRAIN_SECONDS)
        # What they say goes out first.
        await self._activity.until_over(STOP_SECONDS)
        self._calls.give_up()
        self._connections.drain()
        if not await self._activity.until_over(STOP_SECONDS):
            busy = len(self._connections), len(self._calls)
            logger.warning("stopping while %d streams and the calls of %d sessions go on", *busy)
