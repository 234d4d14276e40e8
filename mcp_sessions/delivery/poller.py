"""The poller: one query per interval tells a process what others have added, whatever it has open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Final

from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.bell import Bell
from mcp_sessions.delivery.clock import store_now
from mcp_sessions.delivery.watermark import GAP_SECONDS, Watermark
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

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
        self._runtime = runtime
        self._loop = runtime.loop
        self._is_started = False
        self._bell = bell
        self._is_waited_for = is_waited_for
        self._on_news = on_news
        self._look_around = look_around
        self._watermark: Watermark | None = None
        self._looked_at = 0.0
        self._is_away = False
        self._looks_around_at = 0.0

    def start(self) -> None:
        """Look until the process ends."""
        if not self._is_started:
            self._is_started = True
            self._runtime.spawn(self._run(), "poller")

    async def _run(self) -> None:
        while True:
            began = self._loop.time()
            await asyncio.sleep(app_settings.POLL_SECONDS * (RARELY if self._bell.is_heard else 1))
            try:
                await self._look(self._loop.time() - began)
            except StoreUnavailable as error:
                if not self._is_away:
                    logger.warning("the session store is away, news wait: %s", error)
                self._is_away = True
            except Exception:
                # What cannot be read now may be read next time; without news every stream would stand.
                logger.exception("looking for news failed")

    async def _look(self, rested: float) -> None:
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
            self._watermark = Watermark(await get_store().afirst_news(since))
        self._looked_at = now
        rung = dict(await get_store().anews(self._watermark.low))
        new = self._watermark.take(rung, self._loop.time())
        self._on_news({name for number in new for name in rung[number]})
        if self._is_away or self._loop.time() >= self._looks_around_at:
            await self._look_around()
            self._looks_around_at = self._loop.time() + app_settings.HEARTBEAT_SECONDS
        if self._is_away:
            logger.info("the session store is back")
            self._is_away = False
