"""Sessions that something is open or running for: kept alive, or warned and ended on time."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final

from django.utils import timezone

from mcp_sessions.background import Coalesced, Outage
from mcp_sessions.conf import AppSettings, app_settings
from mcp_sessions.delivery import get_hub, warning_notice
from mcp_sessions.lifecycle.endings import expire_some
from mcp_sessions.lifecycle.expiry_warnings import warn_once
from mcp_sessions.lifecycle.last_used import Touches, hold, touch
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.runtime import Runtime, current
from mcp_sessions.stores import get_store

LAST_SECONDS: Final = 0.1
"""So short before an end that does not move any more, it is waited for, and not looked at again and again."""
AGAIN_SECONDS: Final = 0.1
"""When to look again for a session that somebody else is about to end."""


def watch(session: SessionRecord) -> None:
    """See to it that what is open and running for the session ends when it expires, and not before."""
    current().service(Watch).watch(session)


class Watch:
    """One timer for each session with open streams or running calls.

    Both keep it from being idle. An open stream or running call of the specification's clients
    counts as use besides; one of the guide's does not, and its client gets an event before and at the
    moment its session ends.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sessions: dict[str, SessionRecord] = {}
        self._looks: dict[str, Coalesced] = {}
        self._outage = Outage("watch of sessions")
        self._warned: dict[str, datetime] = {}
        """The end for which a session's streams here were warned."""
        self._over: dict[str, None] = {}
        self._expiring = Coalesced(runtime, "end of expired sessions", self._expire_all)

    def watch(self, session: SessionRecord) -> None:
        self._look_within(self._get_pause(session), session)

    def _is_warned(self, session: SessionRecord) -> bool:
        return self._warned.get(session.key) == session.expires_at

    def _look_within(self, pause: float, session: SessionRecord) -> None:
        key = session.key
        self._sessions[key] = session
        if key not in self._looks:
            work = partial(self._look, key)
            self._looks[key] = Coalesced(self._runtime, "watch of a session", work, outage=self._outage)
        # What is known now counts, and not when a look was due before.
        self._looks[key].cancel()
        self._looks[key].request(pause)

    def _get_pause(self, session: SessionRecord) -> float:
        remaining = max((session.expires_at - timezone.now()).total_seconds(), 0)
        if session.dialect == "specification" or session.expires_at < session.timeout_at:
            return remaining / 2 if remaining > LAST_SECONDS else remaining
        warning = AppSettings(session.server).SESSION_WARNING_SECONDS
        return remaining if warning is None or self._is_warned(session) else max(remaining - warning, 0)

    async def _look(self, key: str) -> None:
        hub, session = get_hub(), self._sessions.get(key)
        if session is None:
            return
        if not (hub.connections.open_streams(key) or hub.calls.is_running(key)):
            self._forget(key)
            return
        try:
            await self._prolong_or_end(session)
        except Exception as error:
            error.add_note(f"Session {key}: its clients do not know yet whether it ends.")
            raise

    def _forget(self, key: str) -> None:
        if (look := self._looks.get(key)) is not None:
            # Somebody may have asked for another look meanwhile.
            look.cancel()
        for each in (self._sessions, self._looks, self._warned):
            each.pop(key, None)

    async def _prolong_or_end(self, session: SessionRecord) -> None:
        if session.dialect == "specification":
            touch(session)
        elif session.expires_at < session.timeout_at:
            hold(session)
        await self._runtime.service(Touches).write()
        found = await get_store().aload_by_key(session.key)
        if found is None or found.ended_at is not None:
            self._forget(session.key)
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
        await self._expiring.run()

    async def _expire_all(self) -> None:
        while self._over:
            keys = list(islice(self._over, app_settings.PURGE_BATCH))
            await expire_some(keys)
            for key in keys:
                self._over.pop(key, None)

    async def _warn(self, session: SessionRecord) -> None:
        """Each worker warns the streams it has; the first sends the signal."""
        # First, since this is retried while the store is unavailable: no client is warned twice.
        await warn_once(session)
        self._warned[session.key] = session.expires_at
        remaining = (session.expires_at - timezone.now()).total_seconds()
        get_hub().connections.notice(session.key, warning_notice(remaining))
