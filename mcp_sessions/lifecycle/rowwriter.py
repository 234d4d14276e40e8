"""Writes the rows that operators see of another store's sessions: in batches, and in nobody's way.

While one transaction runs, what comes is collected for the next. Signals do not wait for rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import islice
from typing import Final, TypeVar

from mcp_sessions.aside import flush_too
from mcp_sessions.delivery import AWAY_SECONDS
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.logs import about
from mcp_sessions.records import SessionRecord, Touch
from mcp_sessions.runtime import Phase, Runtime
from mcp_sessions.stores import get_rows
from mcp_sessions.stores.rows import SessionRows

BATCH: Final = 200
"""Rows of one transaction."""
MAX_WAITING: Final = 10_000
"""Rows that may wait; past it what comes is given up."""
STOP_SECONDS: Final = 5.0
"""How long a stopping process waits for them."""

T = TypeVar("T")

logger = logging.getLogger("mcp_sessions.lifecycle")


class RowWriter:
    """What waits to be written, by the keys of sessions."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sessions: dict[str, SessionRecord] = {}
        self._uses: dict[str, Touch] = {}
        self._working: asyncio.Task[None] | None = None
        self._given_up = 0
        self._is_away = False
        flush_too(self._flush)
        runtime.at_shutdown(Phase.TELL, self._stop)

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
        if self._working is None:
            # In no request's context.
            self._working = Context().run(self._runtime.spawn, self._work(), "rows")

    def _give_up(self) -> None:
        if not self._given_up:
            logger.error("rows of sessions are given up: %d wait to be written", MAX_WAITING)
        self._given_up += 1

    async def _flush(self) -> None:
        while self._working is not None:
            await asyncio.wait({self._working})

    async def _stop(self) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._flush()
        except TimeoutError:
            count = len(self._sessions) + len(self._uses)
            logger.error("the process stops, and rows of sessions were not written: %d", count)

    async def _work(self) -> None:
        try:
            while (self._sessions or self._uses) and (rows := get_rows()) is not None:
                await self._write_some(rows)
        finally:
            self._working = None
        if self._given_up:
            logger.error("%d rows of sessions were given up", self._given_up)
            self._given_up = 0

    async def _write_some(self, rows: SessionRows) -> None:
        try:
            if self._sessions:
                await _write(rows.awrite, self._sessions)
            else:
                await _write(rows.atouch, self._uses)
            self._is_away = False
        except StoreUnavailable as error:
            if not self._is_away:
                logger.warning("rows of sessions are written later: %s", error)
            self._is_away = True
            await asyncio.sleep(AWAY_SECONDS)


async def _write(verb: Callable[[Sequence[T]], Awaitable[object]], waiting: dict[str, T]) -> None:
    """Write the first batch of what waits; what has changed meanwhile waits on."""
    batch = dict(islice(waiting.items(), BATCH))
    try:
        await verb(list(batch.values()))
    except StoreUnavailable:
        raise
    except Exception:
        # One of them cannot be written: that is no reason to give up the others.
        for key, item in batch.items():
            await _write_one(verb, key, item)
    for key, item in batch.items():
        if waiting.get(key) is item:
            del waiting[key]


async def _write_one(verb: Callable[[Sequence[T]], Awaitable[object]], key: str, item: T) -> None:
    try:
        await verb([item])
    except StoreUnavailable:
        raise
    except Exception:
        logger.exception("the row of session %s cannot be written", key, extra=about(key))
