"""Server processes say how many sessions live, to metrics that do not ask."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from django.utils import timezone

from mcp_sessions.background import Periodic
from mcp_sessions.deferred import defer
from mcp_sessions.metrics import recordings, wants_active_count
from mcp_sessions.receivers import Receivers
from mcp_sessions.runtime import Phase, Runtime, current
from mcp_sessions.signals import session_created, session_ended, session_expired
from mcp_sessions.stores import get_store

CHANGES: Final = (session_created, session_ended, session_expired)

MIN_PAUSE: Final = 2.0
MAX_PAUSE: Final = 10.0
"""What others have opened and ended is in the count so soon; a common StatsD flushes as often."""
PAUSE_RATIO: Final = 100
"""A pause is so many times longer than the count before it took: large stores are counted rarely."""


class Counting:
    """Counts when sessions have begun or ended here, with a pause between, and now and then anyway."""

    def __init__(self, runtime: Runtime) -> None:
        self._loop = runtime.loop
        self._rests_until = 0.0
        self._is_counting = False
        self._has_changed = False
        self._counting = Periodic(runtime, "count of live sessions", self._count, self._get_pause)
        for signal in CHANGES:
            signal.connect(self._on_change)
        runtime.at_shutdown(Phase.RELEASE, self._leave)
        self._counting.start(within=0.0)

    async def _on_change(self, **_: Any) -> None:
        if self._is_counting:
            # How long this count takes decides when the next one begins.
            self._has_changed = True
        else:
            self._counting.request(within=self._rests_until - self._loop.time())

    async def _leave(self) -> None:
        for signal in CHANGES:
            signal.disconnect(self._on_change)

    def _get_pause(self) -> float:
        rest = self._rests_until - self._loop.time()
        return rest if self._has_changed else max(MAX_PAUSE, rest)

    async def _count(self) -> None:
        began = self._loop.time()
        self._is_counting, self._has_changed = True, False
        try:
            count = await get_store().acount_live(timezone.now())
        finally:
            self._is_counting = False
            now = self._loop.time()
            self._rests_until = now + max(MIN_PAUSE, PAUSE_RATIO * (now - began))
        defer("the count of live sessions", partial(_tell, count))


async def _tell(count: int) -> None:
    for recording in recordings():
        await current().service(Receivers).call(recording, partial(recording.count, count), None)


def keep_counting() -> None:
    """See to it that metrics hear how many sessions live; on the runtime's loop."""
    if wants_active_count():
        current().service(Counting)
