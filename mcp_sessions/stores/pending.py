"""How much may wait for a session that nobody reads a stream of: MAX_PENDING and MAX_PENDING_BYTES."""

from __future__ import annotations

import logging
from typing import Final

from mcp_sessions.conf import AppSettings
from mcp_sessions.logs import about

logger = logging.getLogger("mcp_sessions.stores")

LOOK_EVERY: Final = 32
"""A store that has to add up sizes does so once for so many small messages."""
SMALL_SHARE: Final = 64
"""A small message has at most this part of the limit. So until the next look at most half of it is added."""


def may_be_too_much(position: int, count: int, size: int, limit: int | None) -> bool:
    """Whether to add up the sizes of waiting events, after `count` with that size were added."""
    if limit is None:
        return False
    return size * SMALL_SHARE > limit or position % LOOK_EVERY < count


def log_dropped(session_key: str, server: str, count: int) -> None:
    options = AppSettings(server)
    logger.warning(
        "session %s: the oldest %d messages dropped, more than MAX_PENDING (%s) or MAX_PENDING_BYTES (%s)"
        " wait for a stream",
        session_key,
        count,
        options.MAX_PENDING,
        options.MAX_PENDING_BYTES,
        extra=about(session_key),
    )
