"""What is longer than Redis takes: it may cut the connection before it has said so."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Final

from redis.exceptions import RedisError

from mcp_sessions.stores.redis.values import ERRORS

LEAST_LIMIT: Final = 1024 * 1024
"""Redis takes no smaller proto-max-bulk-len."""
USUAL_LIMIT: Final = 512 * 1024 * 1024
"""For a server that does not say its own. CONFIG is often forbidden."""


def is_too_long(arguments: Iterable[str | int]) -> Generator[tuple[str, ...], Any, bool]:
    """Whether Redis takes none of the arguments' lengths. It is asked only about what may be too long."""
    longest = max(map(_length, arguments))
    if longest <= LEAST_LIMIT:
        return False
    try:
        _, limit = yield "CONFIG", "GET", "proto-max-bulk-len"
    except (RedisError, ValueError):
        limit = USUAL_LIMIT
    return longest > int(limit)


def _length(argument: str | int) -> int:
    return len(argument.encode("utf-8", ERRORS)) if isinstance(argument, str) else 0
