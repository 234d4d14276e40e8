"""Sessions that something is open or running for: kept alive, or warned and ended on time."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from itertools import islice
from typing import Final

from django.utils import timezone

from mcp_sessions.conf import AppSettings, app_settings
from mcp_sessions.delivery import AWAY_SECONDS, get_hub, warning_notice
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.lifecycle.ending import expire_some
from mcp_sessions.lifecycle.touching import Touches, hold, touch
from mcp_sessions.lifecycle.warning import warn_once
from mcp_sessions.logs import about
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.runtime import Runtime, current
from mcp_sessions.stores import get_store

LAST_SECONDS: Final = 0.1
"""So short before an end that does not move any more, it is waited for, and not looked at again and again."""
AGAIN_SECONDS: Final = 0.1
"""When to look again for a session that somebody else is about to end."""

logger = logging.getLogger("mcp_sessions.lifecycle")


def watch(session: SessionRecord) -> None:
    """See to it that what is open and running for the session ends when it expires, and not before."""
    current().service(Watch).watch(session)


class Watch:
    """One timer for each session with open streams or running calls.

    Both keep it from being idle. An open stream or running call of the specification's clients
    counts as use besides; one of the guide's does not, and its client is told before and at the
    moment its session ends.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._warned: dict[str, datetime] = {}
        """The end of which a session's streams here were told."""
        self._over: dict[str, None] = {}
        self._expiring: asyncio.Task[None] | None = None

    def watch(self, session: SessionRecord) -> None:
        self._look_within(self._get_pause(session), session)

    def _is_warned(self, session: SessionRecord) -> bool:
        return self._warned.get(session.key) == session.expires_at

    def _look_within(self, pause: float, session: SessionRecord) -> None:
        if (timer := self._timers.pop(session.key, None)) is not None:
            timer.cancel()
        self._timers[session.key] = self._runtime.loop.call_later(pause, self._look, session)

    def _get_pause(self, session: SessionRecord) -> float:
        remaining = max((session.expires_at - timezone.now()).total_seconds(), 0)
        if session.dialect == "specification" or session.expires_at < session.timeout_at:
            return remaining / 2 if remaining > LAST_SECONDS else remaining
        warning = AppSettings(session.server).SESSION_WARNING_SECONDS
        return remaining if warning is None or self._is_warned(session) else max(remaining - warning, 0)

    def _look(self, session: SessionRecord) -> None:
        self._timers.pop(session.key, None)
        if self._runtime.is_over:
            return
        hub = get_hub()
        if hub.connections.open_streams(session.key) or hub.calls.is_running(session.key):
            self._runtime.spawn(self._look_at(session), "watch")
        else:
            self._warned.pop(session.key, None)

    async def _look_at(self, session: SessionRecord) -> None:
        try:
            await self._prolong_or_end(session)
        except StoreUnavailable as error:
            text = "session %s: whether it ends is not known yet: %s"
            logger.warning(text, session.key, error, extra=about(session.key))
            self._look_within(AWAY_SECONDS, session)
        except Exception:
            # Its clients would never be told of its end.
            text = "session %s: whether it ends is not known yet"
            logger.exception(text, session.key, extra=about(session.key))
            self._look_within(AWAY_SECONDS, session)

    async def _prolong_or_end(self, session: SessionRecord) -> None:
        if session.dialect == "specification":
            touch(session)
        elif session.expires_at < session.timeout_at:
            hold(session)
        await self._runtime.service(Touches).write()
        found = await get_store().aload_by_key(session.key)
        if found is None or found.ended_at is not None:
            get_hub().end_session(session.key, found.end_reason if found else EndReason.EXPIRED)
        elif not found.is_live(timezone.now()):
            await self._expire(found.key)
            self._look_within(AGAIN_SECONDS, found)
        else:
            is_unmoved = found.expires_at == session.expires_at
            if found.dialect == "guide" and is_unmoved and not self._is_warned(found):
                await self._warn(found)
            self.watch(found)

    async def _expire(self, key: str) -> None:
        """End it before all others that have run out. Those that are due at one moment go together."""
        self._over[key] = None
        if self._expiring is None:
            self._expiring = self._runtime.spawn(self._expire_all(), "expire")
        await asyncio.wait({self._expiring})

    async def _expire_all(self) -> None:
        try:
            while self._over:
                keys = list(islice(self._over, app_settings.PURGE_BATCH))
                await expire_some(keys)
                for key in keys:
                    del self._over[key]
        except StoreUnavailable as error:
            # Each of them is looked at again.
            self._over.clear()
            logger.warning("sessions that have run out end later: %s", error)
        finally:
            self._expiring = None

    async def _warn(self, session: SessionRecord) -> None:
        """Each worker warns the streams it has; the first sends the signal."""
        # Before anybody is told: a store that is away is asked again, and nobody is told twice.
        await warn_once(session)
        # Another look may have been under way: a stream that opened meanwhile begins one.
        if not self._is_warned(session):
            self._warned[session.key] = session.expires_at
            remaining = (session.expires_at - timezone.now()).total_seconds()
            get_hub().connections.notice(session.key, warning_notice(remaining))
