"""Counts refusals for operators: in memory, and from there in batches in the database.

So a flood of refusals makes few rows, and one transaction each WRITE_SECONDS.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from django.utils import timezone

from mcp_sessions.background import Coalesced
from mcp_sessions.conf import app_settings
from mcp_sessions.records import Refusal, RefusalCount
from mcp_sessions.runtime import Phase, Runtime
from mcp_sessions.stores import get_row_keeper

WRITE_SECONDS: Final = 1.0
"""How long the first refusal after a quiet time waits for others to be written with it."""
OTHERS: Final = "others"
"""Stands for the address of the refusals of an hour past MAX_REFUSALS."""


class RefusalCounts:
    """What this process has counted and not written yet."""

    def __init__(self, runtime: Runtime) -> None:
        self._waiting: dict[Refusal, RefusalCount] = {}
        self._distinct: set[Refusal] = set()
        self._hour = 0
        self._writing = Coalesced(
            runtime,
            "counts of refusals",
            self._write,
            finish_in=Phase.WRITE,
            unfinished=lambda: f"counts of {len(self._waiting)} different refusals",
        )

    def add(self, refusal: Refusal) -> None:
        """Count it with those that are alike."""
        if not app_settings.KEEP_REFUSALS_SECONDS or get_row_keeper() is None:
            return
        now = timezone.now()
        self._begin_hour(now)
        kept = self._bounded(refusal)
        self._count(kept, RefusalCount(kept, now))
        self._writing.request(WRITE_SECONDS)

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

    async def _write(self) -> None:
        # Late: it has models, and the mount is imported before Django's apps are ready.
        from mcp_sessions.analytics import astore_refusals

        waiting, self._waiting = self._waiting, {}
        try:
            await astore_refusals(list(waiting.values()))
        except Exception:
            for alike, counted in waiting.items():
                self._count(alike, counted)
            raise
