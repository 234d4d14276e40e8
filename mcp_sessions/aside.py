"""Work that nobody waits for: signals' receivers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from mcp_sessions.background import STOP_SECONDS, Coalesced
from mcp_sessions.committing import after_commit
from mcp_sessions.isolation import isolated
from mcp_sessions.runtime import Phase, Runtime, current, run

Work = Callable[[], Awaitable[object]]

MAX_WAITING: Final = 10_000
"""What may wait for receivers that are too slow; past it what comes is given up."""

logger = logging.getLogger("mcp_sessions.aside")


class Aside:
    """One piece of work after the other, in the order in which they were put here."""

    def __init__(self, runtime: Runtime) -> None:
        self._waiting: deque[tuple[str, Work]] = deque()
        self._current = ""
        self._given_up = 0
        self._too: list[Callable[[], Awaitable[None]]] = []
        self._working = Coalesced(
            runtime, "aside", self._work, finish_in=Phase.TELL, unfinished=self._get_undone
        )

    def put(self, what: str, work: Work) -> None:
        """Have `work` done soon; `what` it is says the log line if it fails."""
        if len(self._waiting) >= MAX_WAITING:
            self._give_up(what)
            return
        self._waiting.append((what, work))
        self._working.request()

    def _give_up(self, what: str) -> None:
        if not self._given_up:
            logger.error("%s, and what comes next, is given up: %d others wait", what, MAX_WAITING)
        self._given_up += 1

    def flush_too(self, flush: Callable[[], Awaitable[None]]) -> None:
        """Whoever waits for what was put here waits for this as well."""
        self._too.append(flush)

    async def flush(self) -> None:
        """Wait until nothing is left to be done."""
        await self._working.flush()
        for flush in self._too:
            await flush()

    async def _work(self) -> None:
        while self._waiting:
            what, work = self._waiting.popleft()
            self._current = what
            try:
                await isolated(work())
            except Exception:
                logger.exception("%s failed", what)
        if self._given_up:
            logger.error("signals that were given up: %d", self._given_up)
            self._given_up = 0

    def _get_undone(self) -> str:
        return ", ".join([self._current, *(what for what, _ in self._waiting)])


def put_aside(what: str, work: Work) -> None:
    """Have `work` done soon, after what was put aside before; must be called on the runtime's loop."""
    current().service(Aside).put(what, work)


def flush_too(flush: Callable[[], Awaitable[None]]) -> None:
    """Have flush_aside() wait for this as well; must be called on the runtime's loop."""
    current().service(Aside).flush_too(flush)


async def flush_aside() -> None:
    """Wait for what was put aside in this process."""
    await run(_flush())


def wait_for_aside() -> None:
    """Wait for it in a process that may be over soon, for STOP_SECONDS at most.

    Inside a transaction, when that commits: signals' receivers may need what it has locked.
    """
    after_commit("what was put aside", _flush_in_time)


async def _flush_in_time() -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await _flush()
    except TimeoutError:
        logger.warning(
            "receivers of signals take longer than %s seconds: nobody waits for them", STOP_SECONDS
        )


async def _flush() -> None:
    await current().service(Aside).flush()
