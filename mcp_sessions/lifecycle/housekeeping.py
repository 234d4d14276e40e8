"""A process keeps its store clean by itself, where nobody else does.

A store that only this process knows no beat can reach: it is purged at every look. In one that
processes share, more than SESSION_GC_THRESHOLD sessions that are over are purged by who finds them.
So a project stays clean that runs neither beat nor cron, and where one runs there is nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from django.utils import timezone

from mcp_sessions.conf import app_settings
from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.lifecycle.purging import apurge, sweep
from mcp_sessions.runtime import Phase, Runtime, current
from mcp_sessions.stores import get_store

STOP_SECONDS: Final = 5.0
"""How long a stopping process waits for the batch that it is at, so that it is told of."""

logger = logging.getLogger("mcp_sessions.lifecycle")


class Housekeeping:
    """A look every SESSION_CLEANUP_INTERVAL, from the first session on that is opened here."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._looking: asyncio.Task[None] | None = None
        runtime.at_shutdown(Phase.DRAIN, self._finish)
        runtime.spawn(self._keep_clean(), "housekeeping")

    async def _keep_clean(self) -> None:
        # By chance: workers that start together take turns, and those that do not live for an
        # interval look as often, taken together.
        pause = random.uniform(0, app_settings.SESSION_CLEANUP_INTERVAL)
        while True:
            await asyncio.sleep(pause)
            self._looking = self._runtime.spawn(self._look(), "purge")
            await asyncio.wait({self._looking})
            pause = app_settings.SESSION_CLEANUP_INTERVAL

    async def _look(self) -> None:
        try:
            if not get_store().shared_by_processes:
                await apurge()
                return
            there = await get_store().astatistics(timezone.now())
            if there.open_streams or there.running_calls:
                await get_hub().watch_over()
            if await is_too_much():
                await apurge()
            else:
                # Where nobody waits for news, nobody else deletes what is rung.
                await sweep()
        except StoreUnavailable as error:
            logger.warning("sessions that are over stay a while longer: %s", error)

    async def _finish(self) -> None:
        """A purge stops after its batch once the process drains."""
        if self._looking is not None:
            await asyncio.wait({self._looking}, timeout=STOP_SECONDS)


async def is_too_much() -> bool:
    """Whether so much is over that this process should purge it; it counts no further than it has to."""
    # Late: it has models, and the mount is imported before Django's apps are ready.
    from mcp_sessions.analytics import kept_since

    now, threshold = timezone.now(), app_settings.SESSION_GC_THRESHOLD
    over = await get_store().acount_over(now, kept_since(now), (threshold or 0) + 1)
    logger.debug("%d sessions are over", over)
    return threshold is not None and over > threshold


def keep_clean() -> None:
    """See to it that sessions that are over do not pile up; on the runtime's loop."""
    current().service(Housekeeping)
