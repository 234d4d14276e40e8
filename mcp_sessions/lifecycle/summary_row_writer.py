"""Writes the rows that operators see of another store's sessions: in batches, and in nobody's way.

While one transaction runs, what comes is collected for the next. Signals do not wait for rows.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final, TypeVar

from mcp_sessions.background import Coalesced
from mcp_sessions.deferred import flush_with_deferred
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.logs import about
from mcp_sessions.records import SessionRecord, Touch
from mcp_sessions.runtime import Phase, Runtime
from mcp_sessions.stores import get_rows

BATCH: Final = 200
"""Rows of one transaction."""
MAX_WAITING: Final = 10_000
"""Rows that may wait; past it what comes is given up."""

T = TypeVar("T")

logger = logging.getLogger("mcp_sessions.lifecycle")


class RowWriter:
    """What waits to be written, by the keys of sessions."""

    def __init__(self, runtime: Runtime) -> None:
        self._sessions: dict[str, SessionRecord] = {}
        self._uses: dict[str, Touch] = {}
        self._given_up = 0
        self._writing = Coalesced(
            runtime, "rows of sessions", self._write_all, finish_in=Phase.TELL, unfinished=self._count
        )
        flush_with_deferred(self._writing.flush)

    def write(self, session: SessionRecord) -> None:
        """Have its row say soon what the session says now."""
        self._put(self._sessions, session.key, session)

    def use(self, touch: Touch) -> None:
        """Have the row of a session that has ended count a use from before soon."""
        self._put(self._uses, touch.key, touch)

    def _put(self, waiting: dict[str, T], key: str, item: T) -> None:
        if key not in waiting and len(self._sessions) + len(self._uses) >= MAX_WAITING:
            self._give_up()
            return
        waiting[key] = item
        self._writing.request()

    def _give_up(self) -> None:
        if not self._given_up:
            logger.error("rows of sessions are given up: %d wait to be written", MAX_WAITING)
        self._given_up += 1

    def _count(self) -> str:
        return f"{len(self._sessions) + len(self._uses)} rows of sessions"

    async def _write_all(self) -> None:
        while (self._sessions or self._uses) and (rows := get_rows()) is not None:
            if self._sessions:
                await _write(rows.awrite, self._sessions)
            else:
                await _write(rows.atouch, self._uses)
        if self._given_up:
            logger.error("%d rows of sessions were given up", self._given_up)
            self._given_up = 0


async def _write(store: Callable[[Sequence[T]], Awaitable[object]], waiting: dict[str, T]) -> None:
    """Write the first batch of what waits; what has changed meanwhile waits on."""
    batch = dict(islice(waiting.items(), BATCH))
    try:
        await store(list(batch.values()))
    except StoreUnavailable:
        raise
    except Exception:
        # One of them cannot be written: that is no reason to give up the others.
        for key, item in batch.items():
            await _write_one(store, key, item)
    for key, item in batch.items():
        if waiting.get(key) is item:
            del waiting[key]


async def _write_one(store: Callable[[Sequence[T]], Awaitable[object]], key: str, item: T) -> None:
    try:
        await store([item])
    except StoreUnavailable:
        raise
    except Exception:
        logger.exception("the row of session %s cannot be written", key, extra=about(key))
