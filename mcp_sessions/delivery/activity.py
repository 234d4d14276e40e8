"""How much is open and running in this process: a process that stops waits for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Activity:
    """Counts the requests, connections and calls of this process."""

    def __init__(self) -> None:
        self._count = 0
        self._is_over = asyncio.Event()
        self._is_over.set()

    def begin(self) -> None:
        self._count += 1
        self._is_over.clear()

    def end(self) -> None:
        self._count -= 1
        if not self._count:
            self._is_over.set()

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request, until it is answered. Its call and the stream of its answer count by themselves."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    async def until_over(self, seconds: float) -> bool:
        """Wait until nothing is open or running, but not for longer. Returns whether nothing is."""
        try:
            async with asyncio.timeout(seconds):
                await self._is_over.wait()
        except TimeoutError:
            return False
        return True
