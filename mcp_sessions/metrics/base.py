"""What every receiver of metrics is."""

from __future__ import annotations

from mcp_sessions.records import Refusal, SessionRecord


class SessionMetrics:
    """Records what happens to sessions. Derive from it, and write the methods that you want.

    Each is called once in the whole cluster for what it tells of, by the process that made it happen,
    soon after it was stored. Calls come one after the other, in a thread in which they may block,
    but those behind them wait meanwhile, and so do receivers of the signals. What they raise is logged,
    and harms nothing.

    `session` is a SessionRecord. `duration` is how long it lived, in seconds. `reason` is the
    signal's (mcp_sessions/signals.py); that of `record_session_ended` may be any text of your code's.
    """

    shared_by_processes: bool = True
    """Whether what is recorded in one process is seen with what is recorded in the others."""

    def record_session_created(self, session: SessionRecord) -> None:
        """It was opened."""

    def record_session_resumed(self, session: SessionRecord) -> None:
        """Its client came back to it, or to a stream."""

    def record_session_warned(self, session: SessionRecord) -> None:
        """It will expire soon."""

    def record_session_expired(self, session: SessionRecord, duration: float, reason: str) -> None:
        """Its time ran out."""

    def record_session_ended(self, session: SessionRecord, duration: float, reason: str) -> None:
        """It was ended before its time ran out."""

    def record_session_rotated(self, session: SessionRecord, reason: str) -> None:
        """It has another id."""

    def record_limit_reached(self, session: SessionRecord, reason: str) -> None:
        """It was refused or replaced, or a stream too many was closed."""

    def record_connection_established(self, session: SessionRecord) -> None:
        """A GET stream of it was connected."""

    def record_connection_closed(self, session: SessionRecord, reason: str) -> None:
        """And is no more."""

    def record_requests_refused(self, refusal: Refusal) -> None:
        """Requests were refused for security: `refusal.count` of them, for `refusal.reason`."""

    def record_active_count(self, count: int) -> None:
        """So many sessions live in the whole cluster.

        Called by every server process on its own: at most every two seconds, when sessions have begun or
        ended there, and otherwise every ten. Sessions are not counted where nobody has this method.
        """

    def close(self) -> None:
        """Give back what it holds: the settings have changed, which only tests do."""
