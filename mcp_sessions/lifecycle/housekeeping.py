"""A process keeps its store clean by itself, where nobody else does.

Celery's beat cannot reach a store that only this process knows: it is purged each time. In a store that
processes share, the process that finds more than SESSION_GC_THRESHOLD expired and ended sessions purges them.
So a project that runs neither Celery's beat nor cron stays clean. Where one runs, nothing is left to do.
"""

from __future__ import annotations

import logging
import random

from django.utils import timezone

from mcp_sessions.background import Periodic
from mcp_sessions.conf import app_settings
from mcp_sessions.delivery import get_hub
from mcp_sessions.lifecycle.purges import apurge, delete_unreachable
from mcp_sessions.runtime import Phase, Runtime, current
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.lifecycle")


class Housekeeping:
    """Deletes every SESSION_CLEANUP_INTERVAL, from the first session on that is opened here.

    A stopping process finishes the batch that it is at, and sends its signals.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._cleaning = Periodic(runtime, "housekeeping", _clean, _interval, finish_in=Phase.DRAIN)
        # By chance: workers that start together take turns, and those that do not live for an
        # interval clean as often, taken together.
        self._cleaning.start(within=random.uniform(0, _interval()))


def _interval() -> float:
    return app_settings.SESSION_CLEANUP_INTERVAL


async def _clean() -> None:
    if not get_store().shared_by_processes:
        await apurge()
        return
    there = await get_store().astatistics(timezone.now())
    if there.open_streams or there.running_calls:
        await get_hub().join_workers()
    if await is_too_much():
        await apurge()
    else:
        # Where nobody waits for notifications, nobody else deletes the old ones.
        await delete_unreachable()


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
