"""The process's one writer: what waits to be stored is stored together."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Final

from mcp_sessions.background import Coalesced
from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.protocols import WriterListener
from mcp_sessions.delivery.retry import with_retry
from mcp_sessions.exceptions import DuplicateIdentifier, StoreBusy, StoreUnavailable
from mcp_sessions.identifiers import new_token
from mcp_sessions.records import Append, BatchItem, Inbound, Placed, Send
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
    item: BatchItem
    stored: asyncio.Future[Placed]
    size: int


@dataclass(slots=True)
class _Lane:
    """What waits for one row."""

    row: str
    waiting: deque[_Waiting]
    writing: Coalesced

    def is_full(self, most_bytes: int) -> bool:
        return len(self.waiting) >= BATCH or sum(each.size for each in self.waiting) >= most_bytes


class Writer:
    """Stores events in the order they were brought, in batches; its listener hears of each commit."""

    listener: WriterListener

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._queue: deque[_Waiting] = deque()
        self._size = 0
        self._lanes: dict[str, _Lane] = {}
        """What waits for a row that somebody else has locked, by the row: it holds up nothing else."""
        self._unstored = 0
        self._writing = Coalesced(runtime, "writer of events", self._write)
        self._has_room = asyncio.Event()

    async def put(self, item: BatchItem) -> asyncio.Future[Placed]:
        """Queue an event. The future has the places where it was stored: none if the stream had ended."""
        while self._is_full(_row_of(item)):
            self._has_room.clear()
            await self._has_room.wait()
        stored: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(item, stored, _size_of(item))
        self._queue.append(waiting)
        self._size += waiting.size
        self._writing.request()
        return stored

    async def _write(self) -> None:
        """Store until nothing waits."""
        while self._queue:
            batch = self._take_batch()
            self._has_room.set()
            await self._write_batch(batch)

    def _is_full(self, row: str) -> bool:
        most = app_settings.QUEUE_BYTES
        if (lane := self._lanes.get(row)) is not None and lane.is_full(most):
            return True
        return len(self._queue) >= WAITING or self._size >= most

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
                await self._writing.flush()
                while self._lanes:
                    await next(iter(self._lanes.values())).writing.flush()
        except TimeoutError:
            logger.error(
                "the process stops while the store is unavailable: %d events are lost", self._unstored
            )

    async def _write_batch(self, batch: list[_Waiting]) -> None:
        """Store a batch. If a row is locked, each row is written by itself, and so is what comes for it."""
        behind = [waiting for waiting in batch if _row_of(waiting.item) in self._lanes]
        for waiting in behind:
            self._put_apart(waiting)
        free = [waiting for waiting in batch if waiting not in behind] if behind else batch
        try:
            if free:
                await self._store(free)
        except StoreBusy as error:
            logger.warning("%d events are written apart: %s", len(free), error)
            for waiting in free:
                self._put_apart(waiting)

    def _put_apart(self, waiting: _Waiting) -> None:
        row = _row_of(waiting.item)
        if row not in self._lanes:
            writing = Coalesced(self._runtime, "writer of a locked row", lambda: self._write_lane(lane))
            self._lanes[row] = lane = _Lane(row, deque(), writing)
        self._lanes[row].waiting.append(waiting)
        self._lanes[row].writing.request()

    async def _write_lane(self, lane: _Lane) -> None:
        while lane.waiting:
            batch = [lane.waiting.popleft() for _ in range(min(BATCH, len(lane.waiting)))]
            await self._store(batch, waits_for_locks=True)
            self._has_room.set()
        if self._lanes.get(lane.row) is lane:
            del self._lanes[lane.row]

    async def _store(self, batch: list[_Waiting], *, waits_for_locks: bool = False) -> None:
        apart = sum(len(lane.waiting) for lane in self._lanes.values())
        self._unstored = len(batch) + len(self._queue) + apart
        try:
            items = [self.listener.prepare(waiting.item) for waiting in batch]
            attempt = partial(get_store().aappend, items, new_token())
            what = f"{len(items)} events wait"
            placed = await with_retry(attempt, what, waits_for_locks=waits_for_locks)
        except DuplicateIdentifier:
            # An earlier attempt was stored, and its answer did not arrive.
            for waiting in batch:
                self._settle(waiting, STORED)
        except StoreUnavailable as error:
            if isinstance(error, StoreBusy) and not waits_for_locks:
                raise
            for waiting in batch:
                self._give_up(waiting, error)
        except Exception as error:
            # One event that the store refuses must not cost the others.
            if len(batch) == 1:
                self._give_up(batch[0], error)
            else:
                for waiting in batch:
                    await self._store([waiting], waits_for_locks=True)
        else:
            for waiting, places in zip(batch, placed, strict=True):
                self._settle(waiting, places)

    def _settle(self, waiting: _Waiting, places: Placed) -> None:
        if not places and not may_be_refused(waiting.item):
            logger.info("%s takes no more: an event refused", _describe(waiting.item))
        if not waiting.stored.done():
            waiting.stored.set_result(places)
        try:
            self.listener.on_stored(waiting.item, places)
        except Exception:
            # It is stored, and found by the next look. The others of its batch must hear of theirs.
            logger.exception("an event of %s is stored, and its notification failed", _describe(waiting.item))

    def _give_up(self, waiting: _Waiting, error: Exception) -> None:
        logger.error("an event of %s is lost", _describe(waiting.item), exc_info=error)
        if not waiting.stored.done():
            waiting.stored.set_exception(error)
            waiting.stored.exception()  # retrieved: whoever does not wait has the log line


def may_be_refused(item: BatchItem) -> bool:
    """Whether it is nothing to speak of that nobody waits for the item."""
    return isinstance(item, Inbound) or (isinstance(item, Send) and item.only_now)


def _size_of(item: BatchItem) -> int:
    return sum(len(data) for _, data in item.events) if isinstance(item, Append) else len(item.data)


def _row_of(item: BatchItem) -> str:
    """What has to be locked to store it."""
    return item.stream if isinstance(item, Append) else item.session


def _describe(item: BatchItem) -> str:
    return f"stream {item.stream}" if isinstance(item, Append) else f"session {item.session}"
