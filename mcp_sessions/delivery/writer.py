"""The process's one writer: what waits to be stored is stored together."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.patience import patiently
from mcp_sessions.exceptions import DuplicateIdentifier, StoreUnavailable
from mcp_sessions.identifiers import new_token
from mcp_sessions.records import Append, Placed, Send
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

BATCH: Final = 200
BATCH_BYTES: Final = 1024 * 1024
"""Of what is stored together; one event may have more."""
WAITING: Final = 2000
"""Appends that may wait, and no more than QUEUE_BYTES.

Whoever brings more waits, and so does the tool that produces them.
"""

STORED: Final[Placed] = (("", 0),)
"""Somewhere: what is known of an event of which it is only known that it was stored."""


@dataclass(slots=True)
class _Waiting:
    item: Append | Send
    stored: asyncio.Future[Placed]
    size: int


class Writer:
    """Stores events in the order they were brought, in batches; tells the hub after the commit."""

    def __init__(self, runtime: Runtime, on_stored: Callable[[Append | Send, Placed], None]) -> None:
        self._runtime = runtime
        self._on_stored = on_stored
        self._queue: deque[_Waiting] = deque()
        self._size = 0
        self._unstored = 0
        self._is_writing = False
        self._has_room = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def put(self, item: Append | Send) -> asyncio.Future[Placed]:
        """Queue an event. The future has the places where it was stored: none if the stream had ended."""
        while self._is_full():
            self._has_room.clear()
            await self._has_room.wait()
        stored: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(item, stored, _size_of(item))
        self._queue.append(waiting)
        self._size += waiting.size
        if not self._is_writing:
            self._is_writing = True
            self._is_idle.clear()
            self._runtime.spawn(self.write(), "writer")
        return stored

    async def write(self) -> None:
        """Store until nothing waits."""
        try:
            while self._queue:
                batch = self._take_batch()
                self._has_room.set()
                await self._write_batch(batch)
        finally:
            self._is_writing = False
            self._is_idle.set()

    def _is_full(self) -> bool:
        return len(self._queue) >= WAITING or self._size >= app_settings.QUEUE_BYTES

    def _take_batch(self) -> list[_Waiting]:
        """The first that waits, and as many behind it as may be stored with it."""
        batch = [self._queue.popleft()]
        size = batch[0].size
        while self._queue and len(batch) < BATCH and size + self._queue[0].size <= BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        self._size -= size
        return batch

    async def flush(self, seconds: float) -> None:
        """Wait until nothing waits to be stored, but not for longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._is_idle.wait()
        except TimeoutError:
            logger.error("stopping while the store is away: %d events are lost", self._unstored)

    async def _write_batch(self, batch: list[_Waiting]) -> None:
        token = new_token()
        items = [waiting.item for waiting in batch]
        self._unstored = len(batch) + len(self._queue)
        try:
            placed = await patiently(lambda: get_store().aappend(items, token), f"{len(items)} events wait")
        except DuplicateIdentifier:
            # An attempt before this one was stored, and the news of it did not arrive.
            for waiting in batch:
                self._settle(waiting, STORED)
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
            for waiting, places in zip(batch, placed, strict=True):
                self._settle(waiting, places)

    def _settle(self, waiting: _Waiting, places: Placed) -> None:
        if not places and not (isinstance(waiting.item, Send) and waiting.item.only_now):
            logger.info("%s takes no more: an event refused", _describe(waiting.item))
        self._on_stored(waiting.item, places)
        if not waiting.stored.done():
            waiting.stored.set_result(places)

    def _give_up(self, waiting: _Waiting, error: Exception) -> None:
        logger.error("an event of %s is lost", _describe(waiting.item), exc_info=error)
        if not waiting.stored.done():
            waiting.stored.set_exception(error)
            waiting.stored.exception()  # retrieved: whoever does not wait has the log line


def _size_of(item: Append | Send) -> int:
    return len(item.data) if isinstance(item, Send) else sum(len(data) for _, data in item.events)


def _describe(item: Append | Send) -> str:
    return f"stream {item.stream}" if isinstance(item, Append) else f"session {item.session}"
