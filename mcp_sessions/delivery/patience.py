"""Waiting for a store that is away: what a call has begun is not given up at the first failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from mcp_sessions.exceptions import StoreBusy, StoreUnavailable

logger = logging.getLogger("mcp_sessions.delivery")

T = TypeVar("T")

AWAY_SECONDS: Final = 1.0
"""How long whoever has to know waits before it asks a store again that was away."""
RETRY_SECONDS: Final = (0.05, 0.2, 0.5, 1, 2, 4, 8, 8, 8)
"""Pauses between attempts; then it is given up."""


async def patiently(attempt: Callable[[], Awaitable[T]], what: str, *, waits_for_locks: bool = True) -> T:
    """What the attempt answers, once the store is there. Raises StoreUnavailable in the end.

    An attempt whose commit failed may have taken place, so what is attempted must bear to be
    done twice. Unless it waits for locks it raises StoreBusy at once, but not after such an attempt.
    """
    for pause in RETRY_SECONDS:
        try:
            return await attempt()
        except StoreUnavailable as error:
            if isinstance(error, StoreBusy) and not waits_for_locks:
                raise
            waits_for_locks = True
            logger.warning("the session store is away, %s: %s", what, error)
            await asyncio.sleep(pause)
    return await attempt()
