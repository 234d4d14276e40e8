"""How long sessions live: all arithmetic on time.

A session has two ends. `timeout_at` slides with its requests (SESSION_TIMEOUT, and only when less
than SESSION_REFRESH_THRESHOLD remains) up to MAX_SESSION_LIFETIME after its opening, which nothing
moves. IDLE_TIMEOUT may end it earlier; open streams and running calls hold that off. The
earlier of the two is `expires_at`.

Source: the guide's chapters "Session Configuration" and "Session Expired"; it is absolute time, in
aware datetimes of any zone, that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from mcp_sessions.records import EndReason, SessionRecord, Touch

LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""What a database can keep; nothing ends later."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The settings that say when a session ends, in seconds; None is never."""

    timeout: float
    refresh_threshold: float | None = None
    idle_timeout: float | None = None
    max_lifetime: float | None = None

    def at_opening(self, now: datetime) -> tuple[datetime, datetime]:
        """(expires_at, timeout_at) of a session that is opened `now`."""
        now = now.astimezone(UTC)
        timeout_at = min(later(now, self.timeout), self._latest(now))
        return self._first(timeout_at, now), timeout_at

    def used(self, session: SessionRecord, now: datetime, requests: int = 0, connections: int = 0) -> Touch:
        """What a use `now` comes to: a request, or an open stream of a specification's client."""
        now = now.astimezone(UTC)
        timeout_at = self._refreshed(session, now)
        return self._touch(session, now, timeout_at, requests, connections)

    def held(self, session: SessionRecord, now: datetime, connections: int = 0) -> Touch:
        """What it comes to that a stream is open or a call runs `now`: only idleness is held off."""
        return self._touch(session, now.astimezone(UTC), session.timeout_at, 0, connections)

    def extended(self, session: SessionRecord, now: datetime, seconds: float) -> Touch:
        """What an extension by hand comes to: no earlier end than `seconds` from now, idle or not."""
        wanted = min(later(now.astimezone(UTC), seconds), self._latest(session.created_at))
        timeout_at = max(session.timeout_at, wanted)
        return Touch(session.key, session.last_accessed_at, max(session.expires_at, wanted), timeout_at)

    def flush_interval(self, touch_seconds: float) -> float:
        """For how many seconds uses may be kept in memory: no session expires meanwhile."""
        shortest = self.timeout if self.idle_timeout is None else min(self.timeout, self.idle_timeout)
        return min(touch_seconds, shortest / 4)

    def _refreshed(self, session: SessionRecord, now: datetime) -> datetime:
        remaining = session.timeout_at - now
        threshold = self.refresh_threshold
        if threshold is not None and remaining >= timedelta(seconds=threshold):
            return session.timeout_at
        return max(session.timeout_at, min(later(now, self.timeout), self._latest(session.created_at)))

    def _touch(
        self, session: SessionRecord, now: datetime, timeout_at: datetime, requests: int, connections: int
    ) -> Touch:
        expires_at = max(session.expires_at, self._first(timeout_at, now))
        return Touch(session.key, now, expires_at, timeout_at, requests, connections)

    def _first(self, timeout_at: datetime, now: datetime) -> datetime:
        return timeout_at if self.idle_timeout is None else min(timeout_at, later(now, self.idle_timeout))

    def _latest(self, created_at: datetime) -> datetime:
        return LAST if self.max_lifetime is None else later(created_at, self.max_lifetime)


def later(now: datetime, seconds: float) -> datetime:
    """So many seconds later, in UTC, or LAST."""
    # Within one zone Python calculates by the clock on the wall, which is set back in autumn.
    now = now.astimezone(UTC)
    return now + timedelta(seconds=seconds) if seconds < (LAST - now).total_seconds() else LAST


def latest_writing(expires_at: datetime, now: datetime) -> float:
    """Seconds within which a use `now` is to be written: other workers must not find the session expired."""
    return max((expires_at - now).total_seconds(), 0) / 2


def expiry_reason(expires_at: datetime, timeout_at: datetime) -> str:
    """Which of a session's two ends has come."""
    return EndReason.IDLE if expires_at < timeout_at else EndReason.EXPIRED
