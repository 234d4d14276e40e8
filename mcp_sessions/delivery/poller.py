"""The poller: one query per interval tells a process what others have added, whatever it has open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Final

from mcp_sessions.background import Periodic
from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.bell import Bell
from mcp_sessions.delivery.clock import store_now
from mcp_sessions.delivery.watermark import GAP_SECONDS, Watermark
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

RARELY: Final = 10
"""While the bell is heard, one look in so many intervals: a bell that was lost costs no more."""


class Poller:
    """Looks for news while somebody here waits for any; and now and then at everything that is open here.

    `look_around` does the latter. It runs once per heartbeat, and after the store was away: that
    makes a lost bell cost time only.
    """

    def __init__(
        self,
        runtime: Runtime,
        bell: Bell,
        is_waited_for: Callable[[], bool],
        on_news: Callable[[Iterable[str]], None],
        look_around: Callable[[], Awaitable[None]],
    ) -> None:
        self._loop = runtime.loop
        self._bell = bell
        self._is_waited_for = is_waited_for
        self._on_news = on_news
        self._look_around = look_around
        self._watermark: Watermark | None = None
        self._looked_at = 0.0
        self._rests_since = 0.0
        self._looks_around_at = 0.0
        self._polling = Periodic(runtime, "poller", self._poll, self._get_pause)

    def start(self) -> None:
        """Look until the process ends."""
        self._polling.start()

    def _get_pause(self) -> float:
        self._rests_since = self._loop.time()
        return app_settings.POLL_SECONDS * (RARELY if self._bell.is_heard else 1)

    async def _poll(self) -> None:
        rested = self._loop.time() - self._rests_since
        now = self._loop.time()
        if not self._is_waited_for():
            if now - self._looked_at > GAP_SECONDS:
                # Who comes next need not go through all that was rung for in a long quiet time.
                self._watermark = None
            return
        if self._watermark is None:
            # What was rung for while a request was on its way to wait for it is among these, and
            # what was since: it may have come right after the last look, and this one may be late.
            since = await store_now() - timedelta(seconds=GAP_SECONDS + rested)
            self._watermark = Watermark(await get_store().alast_change(since))
        self._looked_at = now
        rung = dict(await get_store().achanges(self._watermark.low))
        new = self._watermark.take(rung, self._loop.time())
        self._on_news({name for number in new for name in rung[number]})
        if self._polling.is_failing or self._loop.time() >= self._looks_around_at:
            await self._look_around()
            self._looks_around_at = self._loop.time() + app_settings.HEARTBEAT_SECONDS
