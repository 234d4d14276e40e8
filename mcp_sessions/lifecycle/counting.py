"""Server processes say how many sessions live, to metrics that do not ask."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import Any, Final

from django.utils import timezone

from mcp_sessions.aside import put_aside
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.metrics import recordings, wants_active_count
from mcp_sessions.receivers import Receivers
from mcp_sessions.runtime import Phase, Runtime, current
from mcp_sessions.signals import session_created, session_ended, session_expired
from mcp_sessions.stores import get_store

CHANGES: Final = (session_created, session_ended, session_expired)

SHORTEST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 10.0
"""What others have opened and ended is in the count so soon; a common StatsD flushes as often."""
SHARE: Final = 100
"""A pause is so many times longer than the count before it took: large stores are counted rarely."""

logger = logging.getLogger("mcp_sessions.metrics")


class Counting:
    """Counts when sessions have begun or ended here, with a pause between, and now and then anyway."""

    def __init__(self, runtime: Runtime) -> None:
        self._loop = runtime.loop
        self._has_changed = asyncio.Event()
        for signal in CHANGES:
            signal.connect(self._hear)
        runtime.at_shutdown(Phase.RELEASE, self._leave)
        runtime.spawn(self._keep_counting(), "counting")

    async def _hear(self, **_: Any) -> None:
        self._has_changed.set()

    async def _leave(self) -> None:
        for signal in CHANGES:
            signal.disconnect(self._hear)

    async def _keep_counting(self) -> None:
        while True:
            self._has_changed.clear()
            began = self._loop.time()
            await self._count()
            pause = max(SHORTEST_PAUSE, SHARE * (self._loop.time() - began))
            await asyncio.sleep(pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_PAUSE - SHORTEST_PAUSE):
                    await self._has_changed.wait()

    async def _count(self) -> None:
        try:
            count = await get_store().acount_live(timezone.now())
        except StoreUnavailable as error:
            logger.warning("live sessions cannot be counted: %s", error)
        except Exception:
            # Whatever it is, the gauge must not stand still for good.
            logger.exception("live sessions cannot be counted")
        else:
            put_aside("the count of live sessions", partial(_tell, count))


async def _tell(count: int) -> None:
    for recording in recordings():
        await current().service(Receivers).call(recording, partial(recording.count, count), None)


def keep_counting() -> None:
    """See to it that metrics hear how many sessions live; on the runtime's loop."""
    if wants_active_count():
        current().service(Counting)
