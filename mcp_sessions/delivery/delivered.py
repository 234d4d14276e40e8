"""How far the streams that are read here were sent, and which were left: not stored yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from mcp_sessions.background import Coalesced
from mcp_sessions.delivery.follower import Follower
from mcp_sessions.exceptions import StoreBusy
from mcp_sessions.records import StreamRecord
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

Key = tuple[str, bool]
"""The worker that reads, and whether it has left."""


class Delivered:
    """Stored together. That a stream was left is never stored after somebody came back to it."""

    def __init__(self, runtime: Runtime, on_moved: Callable[[Sequence[str]], None]) -> None:
        self._on_moved = on_moved
        self._waiting: dict[Key, dict[str, int]] = {}
        self._attaching: Counter[str] = Counter()
        self._saving = Coalesced(runtime, "positions of delivered events", self._save_all)

    def note(self, follower: Follower, *, is_leaving: bool = False) -> None:
        positions = self._waiting.setdefault((follower.stream.reader, is_leaving), {})
        # What was delivered before this connection is not given back.
        position = max(follower.position, follower.stream.delivered)
        positions[follower.stream.name] = follower.saved_position = position
        self._saving.request()

    def note_left(self, worker: str, stream: str, position: int) -> None:
        """The worker may read a stream that nobody here reads."""
        self._waiting.setdefault((worker, True), {})[stream] = position
        self._saving.request()

    def is_back(self, stream: StreamRecord) -> None:
        """The stream is read by this worker again."""
        self._waiting.get((stream.reader, True), {}).pop(stream.name, None)

    def is_attaching(self, stream: str) -> bool:
        return self._attaching[stream] > 0

    @asynccontextmanager
    async def attaching(self, stream: str) -> AsyncIterator[None]:
        """While a stream is attached to this worker, that it was left is held back."""
        self._attaching[stream] += 1
        try:
            await self.save()
            yield
        finally:
            # Counted: the same stream may be attached for two connections at once.
            self._attaching -= Counter([stream])
            if self._waiting:
                self._saving.request()

    async def save(self) -> None:
        """Store what waits; what cannot be stored now is stored later."""
        if self._waiting:
            await self._saving.run()

    async def _save_all(self) -> None:
        errors: list[Exception] = []
        for key, waiting in list(self._waiting.items()):
            positions = {n: at for n, at in waiting.items() if not (key[1] and self.is_attaching(n))}
            saved = await self._save(key, positions, errors)
            # Somebody may have come back meanwhile, or read on.
            for name, at in saved.items():
                if waiting.get(name) == at:
                    del waiting[name]
            if not waiting:
                self._waiting.pop(key, None)
        if errors:
            raise errors[0]

    async def _save(self, key: Key, positions: dict[str, int], errors: list[Exception]) -> dict[str, int]:
        """Those that were stored."""
        worker, is_leaving = key
        if not positions:
            return {}
        try:
            moved = await get_store().amark_delivered(worker, positions, leaving=is_leaving)
        except StoreBusy as error:
            if len(positions) > 1:
                # A row that somebody else has locked must not hold up the others.
                each = [await self._save(key, {name: at}, errors) for name, at in positions.items()]
                return {name: at for saved in each for name, at in saved.items()}
            errors.append(error)
            return {}
        except Exception as error:
            # The others may be stored all the same.
            errors.append(error)
            return {}
        if moved:
            self._on_moved(moved)
        return positions
