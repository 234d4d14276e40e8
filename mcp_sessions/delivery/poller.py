"""The poller: one query per interval brings a process what others have stored, however much it has open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from mcp_sessions.background import Periodic
from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.clock import store_now
from mcp_sessions.delivery.protocols import ChangesListener, WakeUps
from mcp_sessions.delivery.watermark import GAP_SECONDS, Watermark
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

RARELY: Final = 10
"""While wake-ups are heard, it polls once in so many intervals: a wake-up that is lost costs no more."""


class Poller:
    """Reads the notifications of others while somebody here waits for any.

    Once per heartbeat it also has some of what is open here compared with the store, and all of it after the
    store was unavailable. So a notification that was lost costs time only.
    """

    def __init__(
        self, runtime: Runtime, wake_ups: WakeUps, get_listener: Callable[[], ChangesListener]
    ) -> None:
        self._loop = runtime.loop
        self._wake_ups = wake_ups
        self._get_listener = get_listener
        self._watermark: Watermark | None = None
        self._polled_at = 0.0
        self._rests_since = 0.0
        self._reconciles_at = 0.0
        self._polling = Periodic(runtime, "poller", self._poll, self._get_pause)

    def start(self) -> None:
        """Poll until the process ends."""
        self._polling.start()

    def _get_pause(self) -> float:
        self._rests_since = self._loop.time()
        return app_settings.POLL_SECONDS * (RARELY if self._wake_ups.is_heard else 1)

    async def _poll(self) -> None:
        now, listener = self._loop.time(), self._get_listener()
        if listener.is_waiting:
            await self._read(listener, rested=now - self._rests_since)
            self._polled_at = now
        elif now - self._polled_at > GAP_SECONDS:
            # The next that waits need not go through all notifications of a long quiet time.
            self._watermark = None

    async def _read(self, listener: ChangesListener, rested: float) -> None:
        if self._watermark is None:
            # What was stored while a request was on its way to wait for it is among these, and
            # what was since: it may have come right after the last poll, and this one may be late.
            since = await store_now() - timedelta(seconds=GAP_SECONDS + rested)
            self._watermark = Watermark(await get_store().alast_change(since))
        notified = dict(await get_store().achanges(self._watermark.low))
        new = self._watermark.take(notified, self._loop.time())
        listener.on_changes({name for number in new for name in notified[number]})
        if self._polling.is_failing or self._loop.time() >= self._reconciles_at:
            await listener.reconcile(everything=self._polling.is_failing)
            self._reconciles_at = self._loop.time() + app_settings.HEARTBEAT_SECONDS
