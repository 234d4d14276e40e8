"""SESSION_DEBUG: the app's debug lines appear, whatever LOGGING says or leaves unsaid."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from typing import Final

LOGGER: Final = "mcp_sessions"
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LastResort(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the standard error what no other handler takes, as Python itself does with warnings."""

    def filter(self, record: logging.LogRecord) -> bool:
        is_taken = any(each is not self and each.level <= record.levelno for each in _handlers(record.name))
        return not is_taken and bool(super().filter(record))


@cache
def show() -> None:
    """Have every line of the app's loggers logged and shown, from now on."""
    handler = LastResort()
    handler.setFormatter(logging.Formatter(FORMAT))
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)


def _handlers(name: str) -> Iterator[logging.Handler]:
    """Those that a line of the logger with this name comes to."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None
