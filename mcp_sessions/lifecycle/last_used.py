"""Uses of sessions, kept for a moment and written together."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection, Sequence
from typing import Final

from django.utils import timezone

from mcp_sessions.background import Coalesced
from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import StoreBusy, StoreUnavailable
from mcp_sessions.lifecycle import summary_rows
from mcp_sessions.lifetimes import Lifetimes, latest_writing
from mcp_sessions.records import SessionRecord, Touch
from mcp_sessions.runtime import Phase, Runtime, current
from mcp_sessions.stores import get_store

LINGER_SECONDS: Final = 0.2
"""How long the first use after a quiet time waits for others to be written with it."""
TOGETHER: Final = 300
"""Uses that are stored at once: what a store has in one transaction is stored whole or not at all."""

logger = logging.getLogger("mcp_sessions.lifecycle")


def lifetimes_at(endpoint: str) -> Lifetimes:
    """How long sessions of an endpoint live."""
    options = AppSettings(endpoint)
    return Lifetimes(
        options.SESSION_TIMEOUT,
        options.SESSION_REFRESH_THRESHOLD,
        options.IDLE_TIMEOUT,
        options.MAX_SESSION_LIFETIME,
    )


def touch(session: SessionRecord, *, requests: int = 0, connections: int = 0) -> None:
    """Note that the session was used now. It is written with others within TOUCH_SECONDS."""
    lifetimes = lifetimes_at(session.server)
    use = lifetimes.used(session, timezone.now(), requests, connections)
    current().service(Touches).note(session, use, lifetimes)


def hold(session: SessionRecord, *, connections: int = 0) -> None:
    """Note that something is open or running for the session now: it is not idle, and no more than that."""
    lifetimes = lifetimes_at(session.server)
    current().service(Touches).note(session, lifetimes.held(session, timezone.now(), connections), lifetimes)


async def write_uses(keys: Collection[str]) -> None:
    """Store what this process has noted of these sessions, which end now or have ended."""
    await current().service(Touches).write_of(keys)


class Touches:
    """Uses of sessions that are not written yet."""

    def __init__(self, runtime: Runtime) -> None:
        self._loop = runtime.loop
        self._waiting: dict[str, Touch] = {}
        self._written_at = -math.inf
        self._in_turn = asyncio.Lock()
        self._writing = Coalesced(
            runtime,
            "last-used times",
            self._write_all,
            finish_in=Phase.WRITE,
            unfinished=lambda: f"last-used times of {len(self._waiting)} sessions",
        )

    def note(self, session: SessionRecord, use: Touch, lifetimes: Lifetimes) -> None:
        earlier = self._waiting.get(session.key)
        self._waiting[session.key] = use if earlier is None else merged(earlier, use)
        # The first use after a quiet time is written soon, so that operators see it; and a session's
        # first request: until then it is as one that nobody needs, and the first to be replaced.
        interval = lifetimes.flush_interval(AppSettings(session.server).TOUCH_SECONDS)
        pause = max(self._written_at + interval - self._loop.time(), LINGER_SECONDS)
        if use.requests and not session.requests:
            pause = LINGER_SECONDS
        self._writing.request(min(pause, latest_writing(session.expires_at, use.last_accessed_at)))

    async def write(self) -> None:
        """Store what was noted until now; what cannot be stored now is stored later."""
        await self._writing.run()

    async def write_of(self, keys: Collection[str]) -> None:
        """The same for these sessions alone."""
        async with self._in_turn:
            if await self._store({key: self._waiting.pop(key) for key in keys if key in self._waiting}):
                self._writing.request(LINGER_SECONDS)

    async def _write_all(self) -> None:
        async with self._in_turn:
            waiting, self._waiting = list(self._waiting.items()), {}
            self._written_at = self._loop.time()
            errors: list[Exception] = []
            for start in range(0, len(waiting), TOGETHER):
                errors += await self._store(dict(waiting[start : start + TOGETHER]))
        if errors:
            raise errors[0]

    async def _store(self, waiting: dict[str, Touch]) -> list[Exception]:
        """Store these; why some could not be stored. Those wait again."""
        if not waiting:
            return []
        try:
            over = await get_store().atouch(list(waiting.values()))
        except StoreBusy as error:
            if len(waiting) > 1:
                # A row that somebody else has locked must not hold up the others.
                return [each for item in waiting.items() for each in await self._store(dict([item]))]
            self._put_back(waiting)
            return [error]
        except Exception as error:
            self._put_back(waiting)
            return [error]
        # A store of the project's own may not say.
        await self._tell_rows([waiting[key] for key in over or ()])
        return []

    async def _tell_rows(self, uses: Sequence[Touch]) -> None:
        try:
            await summary_rows.were_used(uses)
        except StoreUnavailable as error:
            logger.warning("rows of %d sessions miss their last uses: %s", len(uses), error)

    def _put_back(self, waiting: dict[str, Touch]) -> None:
        for key, newer in self._waiting.items():
            waiting[key] = merged(waiting[key], newer) if key in waiting else newer
        self._waiting = waiting


def merged(earlier: Touch, later: Touch) -> Touch:
    """Both uses as one; it counts from the later one, and nothing of the earlier is lost."""
    return Touch(
        later.key,
        later.last_accessed_at,
        expires_at=max(earlier.expires_at, later.expires_at),
        timeout_at=max(earlier.timeout_at, later.timeout_at),
        requests=earlier.requests + later.requests,
        connections=earlier.connections + later.connections,
    )
