"""How many sessions live in the whole cluster, for backends that ask when somebody looks at them."""

from __future__ import annotations

import logging
import time
from typing import Final

from django.db import close_old_connections
from django.utils import timezone

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.stores import get_store

FRESH_SECONDS: Final = 2.0
"""For so long one count serves everybody in the process who asks."""

logger = logging.getLogger("mcp_sessions.metrics")

_counted: tuple[float, int] | None = None


def count_active() -> int | None:
    """The sessions that live now, or lived FRESH_SECONDS ago; None if the store is away. Blocks."""
    global _counted
    if _counted is None or time.monotonic() - _counted[0] > FRESH_SECONDS:
        try:
            _counted = (time.monotonic(), _count())
        except StoreUnavailable as error:
            logger.warning("live sessions cannot be counted: %s", error)
            return None
    return _counted[1]


def forget_count() -> None:
    global _counted
    _counted = None


def _count() -> int:
    # An exporter asks in a thread of its own, whose database connections nobody else looks after.
    close_old_connections()
    try:
        return get_store().count_live(timezone.now())
    finally:
        close_old_connections()
