"""The store's time, by which workers agree: their own clocks may be apart."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta
from typing import Final

from mcp_sessions.runtime import Runtime, current
from mcp_sessions.stores import get_store

ASK_SECONDS: Final = 30.0
"""So long the store need not be asked again: no clock goes wrong by much meanwhile."""


class StoreClock:
    """What the store said, and what has gone by since."""

    def __init__(self, _: Runtime) -> None:
        self._said: datetime | None = None
        self._at = -math.inf

    async def now(self) -> datetime:
        """Raises StoreUnavailable."""
        asked_at = time.monotonic()
        if self._said is None or asked_at - self._at > ASK_SECONDS:
            self._said = await get_store().anow()
            # Between the question and the answer, nobody knows when.
            self._at = (asked_at + time.monotonic()) / 2
        return self._said + timedelta(seconds=time.monotonic() - self._at)


async def store_now() -> datetime:
    """The time by the clock that all workers share; on the runtime's loop. Raises StoreUnavailable."""
    return await current().service(StoreClock).now()
