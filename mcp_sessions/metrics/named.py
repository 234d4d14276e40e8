"""The metrics by their names: what the three backends that come with the app have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

from mcp_sessions.metrics.base import SessionMetrics
from mcp_sessions.records import EndReason, Refusal, SessionRecord

Labels = Mapping[str, str]

LABELS: Final = ("server", "dialect")
"""The labels of what is about a session."""
COUNTERS: Final[Mapping[str, str]] = {
    "created": "Sessions that were opened",
    "resumed": "Times a client came back to its session or to a stream",
    "warned": "Times a session was about to expire",
    "expired": "Sessions whose time ran out",
    "ended": "Sessions that were ended before their time ran out",
    "rotated": "Sessions that were given another id",
    "limit_reached": "Sessions refused or replaced, and streams closed, because of a limit",
    "connection.established": "GET streams that were connected",
    "connection.closed": "GET streams that were connected and are no more",
    "refused": "Requests that were refused for security",
}
_WITH_REASON: Final = frozenset({"expired", "ended", "rotated", "limit_reached", "connection.closed"})
DURATION: Final = "How long the sessions lived that expired or ended"
ACTIVE_COUNT: Final = "Live sessions of the whole cluster"
BUCKETS: Final = (1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 24 * 3600.0)
"""Of durations, in seconds."""

REASONS: Final = frozenset(
    {
        *(EndReason.DELETED, EndReason.EXPIRED, EndReason.IDLE, EndReason.REPLACED, EndReason.OPERATOR),
        *(EndReason.UNUSED, EndReason.ROTATED, EndReason.REVOKED),
        *("requested", "authentication"),
        *("principal", "server", "connections"),
        *("client", "limit", "polling", "session", "draining", "stalled", "trimmed", "lost"),
        *("not_authenticated", "invalid_request", "invalid_token", "insufficient_scope"),
        *("permission", "csrf", "origin", "host"),
        *("owner", "endpoint", "address", "user_agent", "rate_limit", "call_limit"),
    }
)
OTHER: Final = "other"


class NamedMetrics(SessionMetrics, ABC):
    """Counts by name and labels, none of which has more values than an operator can look through."""

    @abstractmethod
    def count(self, name: str, labels: Labels, by: int = 1) -> None:
        """Add `by` to the counter, which is one of COUNTERS."""

    @abstractmethod
    def time(self, seconds: float, labels: Labels) -> None:
        """A session has lived so long."""

    def record_session_created(self, session: SessionRecord) -> None:
        self.count("created", labels_of(session))

    def record_session_resumed(self, session: SessionRecord) -> None:
        self.count("resumed", labels_of(session))

    def record_session_warned(self, session: SessionRecord) -> None:
        self.count("warned", labels_of(session))

    def record_session_expired(self, session: SessionRecord, duration: float, reason: str) -> None:
        self.count("expired", labels_of(session, reason))
        self.time(duration, labels_of(session))

    def record_session_ended(self, session: SessionRecord, duration: float, reason: str) -> None:
        self.count("ended", labels_of(session, reason))
        self.time(duration, labels_of(session))

    def record_session_rotated(self, session: SessionRecord, reason: str) -> None:
        self.count("rotated", labels_of(session, reason))

    def record_limit_reached(self, session: SessionRecord, reason: str) -> None:
        self.count("limit_reached", labels_of(session, reason))

    def record_connection_established(self, session: SessionRecord) -> None:
        self.count("connection.established", labels_of(session))

    def record_connection_closed(self, session: SessionRecord, reason: str) -> None:
        self.count("connection.closed", labels_of(session, reason))

    def record_requests_refused(self, refusal: Refusal) -> None:
        self.count("refused", {"server": refusal.server, "reason": _known(refusal.reason)}, refusal.count)


def label_names(counter: str) -> tuple[str, ...]:
    """The labels of a counter, which is one of COUNTERS."""
    if counter == "refused":
        # Refused requests have no session, which would have a dialect.
        return ("server", "reason")
    return (*LABELS, "reason") if counter in _WITH_REASON else LABELS


def labels_of(session: SessionRecord, reason: str | None = None) -> Labels:
    """Nothing that a client says, and of the reasons only ours: code of the project may give any number."""
    labels = {"server": session.server, "dialect": session.dialect}
    if reason is None:
        return labels
    return {**labels, "reason": _known(reason)}


def _known(reason: str) -> str:
    return reason if reason in REASONS else OTHER
