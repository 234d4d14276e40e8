"""The lease an edit() has on a session's data: taken in turn, renewed, given back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from mcp_sessions.conf import app_settings
from mcp_sessions.delivery import store_now
from mcp_sessions.exceptions import LeaseLost, MCPSessionsError, StoreUnavailable
from mcp_sessions.identifiers import new_lease
from mcp_sessions.logs import about
from mcp_sessions.runtime import current
from mcp_sessions.state.turns import Turns, busy
from mcp_sessions.stores import get_store

LEASE_SECONDS: Final = 10.0
"""What a killed worker edited is free after so long: the living renew their leases."""
RENEWALS: Final = 3
"""Within LEASE_SECONDS: two may be late."""
FIRST_PAUSE: Final = 0.02
"""Before a lease that another process has is asked for again; then twice as long, and so on."""
MAX_PAUSE: Final = 0.2

logger = logging.getLogger("mcp_sessions.state")


class Lease:
    """One lease, kept by a task of the runtime: so it is given back whatever becomes of who took it."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._token = new_lease()
        self._runtime = current()
        self._task: asyncio.Task[Exception | None] | None = None
        self._is_abandoned = False

    async def take(self) -> dict[str, Any]:
        """Wait for one's turn; the session's data. Raises SessionBusy, SessionEnded."""
        if self._is_abandoned:
            raise asyncio.CancelledError
        self._taken: asyncio.Future[dict[str, Any]] = self._runtime.loop.create_future()
        self._result: asyncio.Future[dict[str, Any] | None] = self._runtime.loop.create_future()
        self._task = self._runtime.spawn(self._live(), "edit")
        return await self._taken

    async def give_back(self, data: dict[str, Any] | None) -> None:
        """End the lease, writing `data` unless it is None. Raises what came in between."""
        assert self._task is not None  # it was taken
        if not self._task.done():
            self._result.set_result(data)
            await asyncio.wait({self._task})
        error = self._lost("the process stopped") if self._task.cancelled() else self._task.result()
        if error is not None:
            raise error

    def abandon(self) -> None:
        """Nobody waits for the lease any more; from any thread, at any time."""
        self._runtime.loop.call_soon_threadsafe(self._abandon)

    def _abandon(self) -> None:
        self._is_abandoned = True
        if self._task is not None:
            self._task.cancel()

    async def _live(self) -> Exception | None:
        """From the first attempt to the end; what went wrong after the lease was taken."""
        try:
            gives_up_at = self._now() + app_settings.EDIT_TIMEOUT
            async with self._runtime.service(Turns).turn(self._key, gives_up_at):
                await self._hold(gives_up_at)
        except Exception as error:
            if self._taken.done():
                return error
            self._taken.set_exception(error)
        finally:
            self._taken.cancel()
        return None

    async def _hold(self, gives_up_at: float) -> None:
        try:
            data = await self._acquire(gives_up_at)
            if not self._taken.done():
                self._taken.set_result(data)
            await self._renew_until_left()
        except asyncio.CancelledError:
            with suppress(MCPSessionsError):
                await self._release(None)
            raise
        if not await self._release(self._result.result()):
            raise self._lost("it took too long, and another edit has begun")

    async def _acquire(self, gives_up_at: float) -> dict[str, Any]:
        pause = FIRST_PAUSE
        while (found := await self._attempt()) is None:
            if (rest := gives_up_at - self._now()) <= 0:
                raise busy(self._key)
            await asyncio.sleep(min(pause, rest))
            pause = min(pause * 2, MAX_PAUSE)
        return dict(found)

    async def _attempt(self) -> Mapping[str, Any] | None:
        """The data, if nobody has it. Who is cancelled waits: the store takes the lease all the same."""
        attempt = asyncio.ensure_future(self._lease())
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            await asyncio.wait({attempt})
            raise

    async def _lease(self) -> Mapping[str, Any] | None:
        now = await store_now()
        until = now + timedelta(seconds=min(LEASE_SECONDS, app_settings.EDIT_TIMEOUT))
        return await get_store().alease(self._key, self._token, now, until)

    async def _renew_until_left(self) -> None:
        """Raises LeaseLost or SessionEnded. The next edit goes on; this one gets the error at its end."""
        ends_at = self._now() + app_settings.EDIT_TIMEOUT
        # No background work: the loop is this edit, and ends with it.
        while True:
            rest = ends_at - self._now()
            await asyncio.wait({self._result}, timeout=min(rest, LEASE_SECONDS / RENEWALS))
            if self._now() >= ends_at:
                await self._lose("it took longer than EDIT_TIMEOUT")
            if self._result.done():
                return
            if not await self._renew(ends_at - self._now()):
                await self._lose("another edit has begun")

    async def _renew(self, rest: float) -> bool:
        try:
            until = await store_now() + timedelta(seconds=min(LEASE_SECONDS, rest))
            return await get_store().arenew(self._key, self._token, until)
        except StoreUnavailable as error:
            # Nobody else can take it meanwhile; the next renewal, or the release, decides.
            text = "the edit of session %s was not renewed: %s"
            logger.warning(text, self._key, error, extra=about(self._key))
            return True

    async def _lose(self, why: str) -> None:
        with suppress(StoreUnavailable):
            await self._release(None)
        raise self._lost(why)

    async def _release(self, data: dict[str, Any] | None) -> bool:
        return await get_store().arelease(self._key, self._token, data)

    def _lost(self, why: str) -> LeaseLost:
        return LeaseLost(f"The edit of session {self._key} is lost, {why}: nothing of it was written.")

    def _now(self) -> float:
        return self._runtime.loop.time()
