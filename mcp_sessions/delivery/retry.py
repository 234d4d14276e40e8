"""Retries while the store is unavailable: what a call has begun is not given up at the first failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from mcp_sessions.exceptions import StoreBusy, StoreUnavailable

logger = logging.getLogger("mcp_sessions.delivery")

T = TypeVar("T")

RETRY_SECONDS: Final = 1.0
"""Seconds between two attempts to reach an unavailable store, of what is tried until it is back."""
PAUSES: Final = (0.05, 0.2, 0.5, 1, 2, 4, 8, 8, 8)
"""Seconds between the attempts of with_retry(); after the last one fails, it gives up."""


async def with_retry(attempt: Callable[[], Awaitable[T]], what: str, *, waits_for_locks: bool = True) -> T:
    """Returns the result of the first attempt that succeeds. Raises StoreUnavailable if none does.

    An attempt whose commit failed may have been stored, so it must be safe to repeat. Unless it waits for
    locks, the first StoreBusy is raised at once. `what` says in the log line what waits meanwhile.
    """
    for pause in PAUSES:
        try:
            return await attempt()
        except StoreUnavailable as error:
            if isinstance(error, StoreBusy) and not waits_for_locks:
                raise
            waits_for_locks = True
            logger.warning("the session store is unavailable, %s: %s", what, error)
            await asyncio.sleep(pause)
    return await attempt()
