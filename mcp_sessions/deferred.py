"""Deferred work: receivers of signals, for which no request waits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from mcp_sessions.background import STOP_SECONDS, Coalesced
from mcp_sessions.commits import after_commit
from mcp_sessions.isolation import isolated
from mcp_sessions.runtime import Phase, Runtime, current, run

Work = Callable[[], Awaitable[object]]

MAX_WAITING: Final = 10_000
"""Pieces of work that may wait, if receivers are slow. Past it, new ones are given up."""

logger = logging.getLogger("mcp_sessions.deferred")


class Deferred:
    """Does one piece of work after the other, in the order in which they were deferred."""

    def __init__(self, runtime: Runtime) -> None:
        self._waiting: deque[tuple[str, Work]] = deque()
        self._current = ""
        self._given_up = 0
        self._too: list[Callable[[], Awaitable[None]]] = []
        self._working = Coalesced(
            runtime, "deferred work", self._work, finish_in=Phase.TELL, unfinished=self._get_undone
        )

    def put(self, what: str, work: Work) -> None:
        """Do `work` soon. `what` describes it in the log line if it fails."""
        if len(self._waiting) >= MAX_WAITING:
            self._give_up(what)
            return
        self._waiting.append((what, work))
        self._working.request()

    def _give_up(self, what: str) -> None:
        if not self._given_up:
            logger.error("%s, and what comes next, is given up: %d others wait", what, MAX_WAITING)
        self._given_up += 1

    def also_flush(self, flush: Callable[[], Awaitable[None]]) -> None:
        """Have flush() wait for this as well."""
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


def defer(what: str, work: Work) -> None:
    """Do `work` soon, after what was deferred before. Call this on the runtime's loop."""
    current().service(Deferred).put(what, work)


def flush_with_deferred(flush: Callable[[], Awaitable[None]]) -> None:
    """Have flush_deferred() wait for this as well. Call this on the runtime's loop."""
    current().service(Deferred).also_flush(flush)


async def flush_deferred() -> None:
    """Wait for the deferred work of this process."""
    await run(_flush())


def wait_for_deferred() -> None:
    """Wait for it in a process that may end soon, for STOP_SECONDS at most.

    Inside a transaction this waits when that commits, since receivers may need what it has locked.
    """
    after_commit("deferred work", _flush_in_time)


async def _flush_in_time() -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await _flush()
    except TimeoutError:
        logger.warning(
            "receivers of signals take longer than %s seconds: they go on in the background", STOP_SECONDS
        )


async def _flush() -> None:
    await current().service(Deferred).flush()
