"""First come, first served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp_sessions.exceptions import SessionBusy
from mcp_sessions.runtime import Runtime


class Turns:
    """First come, first served among the edits of one process; the lease decides between processes."""

    def __init__(self, runtime: Runtime) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    @asynccontextmanager
    async def turn(self, key: str, gives_up_at: float) -> AsyncIterator[None]:
        """Wait for one's turn, until that instant of the loop's clock. Raises SessionBusy."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            await self._acquire(lock, key, gives_up_at)
            try:
                yield
            finally:
                lock.release()
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._locks[key]

    async def _acquire(self, lock: asyncio.Lock, key: str, gives_up_at: float) -> None:
        try:
            async with asyncio.timeout_at(gives_up_at):
                await lock.acquire()
        except TimeoutError:
            raise busy(key) from None


def busy(key: str) -> SessionBusy:
    return SessionBusy(f"Session {key} has been edited by others for longer than EDIT_TIMEOUT.")
