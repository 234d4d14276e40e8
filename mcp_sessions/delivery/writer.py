"""The process's one writer: what waits to be stored is stored together."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.records import Append
from mcp_sessions.stores.base import BaseSessionStore

logger = logging.getLogger("mcp_sessions.delivery")

BATCH: Final = 200
WAITING: Final = 2000
"""Appends that may wait; whoever brings more waits, and so does the tool that produces them."""
RETRY_SECONDS: Final = (0.05, 0.2, 0.5, 1, 2, 4, 8, 8, 8)
"""Pauses between attempts while the store is away; then what waited is given up, with a log line."""


@dataclass(slots=True)
class _Waiting:
    append: Append
    stored: asyncio.Future[int | None]


class Writer:
    """Stores appends in the order they were brought, in batches; tells the hub after the commit."""

    def __init__(
        self,
        store: Callable[[], BaseSessionStore],
        spawn: Callable[[], None],
        on_stored: Callable[[Append, int | None], None],
    ) -> None:
        self._store = store
        self._spawn = spawn
        self._on_stored = on_stored
        self._queue: deque[_Waiting] = deque()
        self._last: asyncio.Future[int | None] | None = None
        self._is_writing = False
        self._has_room = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def put(self, append: Append) -> asyncio.Future[int | None]:
        """Queue an append. The future has its first position, or None when the stream had ended."""
        while len(self._queue) >= WAITING:
            self._has_room.clear()
            await self._has_room.wait()
        stored: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(append, stored))
        self._last = stored
        if not self._is_writing:
            self._is_writing = True
            self._is_idle.clear()
            self._spawn()
        return stored

    async def write(self) -> None:
        """Store until nothing waits."""
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                self._has_room.set()
                await self._write_batch(batch)
        finally:
            self._is_writing = False
            self._is_idle.set()

    async def catch_up(self) -> None:
        """Wait until what was brought so far is stored, or given up."""
        if self._last is not None and not self._last.done():
            await asyncio.wait({self._last})

    async def flush(self) -> None:
        """Wait until nothing waits to be stored."""
        await self._is_idle.wait()

    async def _write_batch(self, batch: list[_Waiting]) -> None:
        try:
            positions = await self._append([waiting.append for waiting in batch])
        except StoreUnavailable as error:
            for waiting in batch:
                self._give_up(waiting, error)
        except Exception as error:
            # One event that the store refuses must not cost the others.
            if len(batch) == 1:
                self._give_up(batch[0], error)
            else:
                for waiting in batch:
                    await self._write_batch([waiting])
        else:
            for waiting, position in zip(batch, positions, strict=True):
                self._settle(waiting, position)

    async def _append(self, appends: Sequence[Append]) -> list[int | None]:
        for pause in RETRY_SECONDS:
            try:
                return await self._store().aappend(appends)
            except StoreUnavailable as error:
                logger.warning("the session store is away, %d events wait: %s", len(appends), error)
                await asyncio.sleep(pause)
        return await self._store().aappend(appends)

    def _settle(self, waiting: _Waiting, position: int | None) -> None:
        if position is None and waiting.append.events:
            logger.info(
                "stream %s has ended: %d events refused", waiting.append.stream, len(waiting.append.events)
            )
        self._on_stored(waiting.append, position)
        if not waiting.stored.done():
            waiting.stored.set_result(position)

    def _give_up(self, waiting: _Waiting, error: Exception) -> None:
        count = len(waiting.append.events)
        logger.error("%d events of stream %s are lost", count, waiting.append.stream, exc_info=error)
        if not waiting.stored.done():
            waiting.stored.set_exception(error)
            waiting.stored.exception()  # retrieved: whoever does not wait has the log line
