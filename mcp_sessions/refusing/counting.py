"""Counts refusals for operators: in memory, and from there in batches in the database.

So a flood of refusals makes few rows, and one transaction each WRITE_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime
from typing import Final

from django.utils import timezone

from mcp_sessions.conf import app_settings
from mcp_sessions.delivery import AWAY_SECONDS
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.records import Refusal, RefusalCount
from mcp_sessions.runtime import Phase, Runtime
from mcp_sessions.stores import get_row_keeper

WRITE_SECONDS: Final = 1.0
"""How long the first refusal after a quiet time waits for others to be written with it."""
OTHERS: Final = "others"
"""Stands for the address of the refusals of an hour past MAX_REFUSALS."""

logger = logging.getLogger("mcp_sessions.security")


class RefusalCounts:
    """What this process has counted and not written yet."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: dict[Refusal, RefusalCount] = {}
        self._distinct: set[Refusal] = set()
        self._hour = 0
        self._timer: asyncio.TimerHandle | None = None
        self._in_turn = asyncio.Lock()
        self._is_failing = False
        runtime.at_shutdown(Phase.WRITE, self._write)

    def add(self, refusal: Refusal) -> None:
        """Count it with those that are alike."""
        if not app_settings.KEEP_REFUSALS_SECONDS or get_row_keeper() is None:
            return
        now = timezone.now()
        self._begin_hour(now)
        kept = self._bounded(refusal)
        self._count(kept, RefusalCount(kept, now))
        self._write_within(WRITE_SECONDS)

    def _begin_hour(self, now: datetime) -> None:
        if self._hour != (hour := int(now.timestamp()) // 3600):
            self._hour = hour
            self._distinct = set(self._waiting)

    def _bounded(self, refusal: Refusal) -> Refusal:
        """The refusal itself; as one of the others if the hour has MAX_REFUSALS different ones already."""
        if refusal not in self._distinct:
            if len(self._distinct) >= app_settings.MAX_REFUSALS:
                return replace(refusal, address=OTHERS, owner="", key="")
            self._distinct.add(refusal)
        return refusal

    def _count(self, alike: Refusal, new: RefusalCount) -> None:
        known = self._waiting.get(alike)
        if known is not None:
            total = known.refusal.count + new.refusal.count
            new = RefusalCount(replace(alike, count=total), max(known.last_at, new.last_at))
        self._waiting[alike] = new

    def _write_within(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._runtime.loop.call_later(seconds, self._begin_writing)

    def _begin_writing(self) -> None:
        self._timer = None
        if not self._runtime.is_over:
            self._runtime.spawn(self._write(), "refusals")

    async def _write(self) -> None:
        # Late: it has models, and the mount is imported before Django's apps are ready.
        from mcp_sessions.analytics import astore_refusals

        async with self._in_turn:
            waiting, self._waiting = self._waiting, {}
            try:
                await astore_refusals(list(waiting.values()))
            except Exception as error:
                self._keep(waiting, error)
            else:
                self._is_failing = False

    def _keep(self, waiting: dict[Refusal, RefusalCount], error: Exception) -> None:
        """What cannot be written now is written with what comes."""
        for alike, counted in waiting.items():
            self._count(alike, counted)
        if not self._is_failing:
            expected = isinstance(error, StoreUnavailable)
            logger.warning("refusals are not written yet: %s", error, exc_info=None if expected else error)
        self._is_failing = True
        self._write_within(AWAY_SECONDS)
