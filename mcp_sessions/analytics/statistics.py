"""SessionAnalytics: the guide's chapter "Session Analytics", and what its sketch leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, TypedDict

from django.utils import timezone

from mcp_sessions.analytics.aggregates import HOUR, Aggregates
from mcp_sessions.analytics.growth import Growth, grown, patterns
from mcp_sessions.analytics.rows import Rows
from mcp_sessions.analytics.spans import Span, span_of
from mcp_sessions.conf import served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.stores import get_row_keeper, get_store

ACTIVE: Final = timedelta(minutes=5)
PAGE: Final = 500


class ConnectionPatterns(TypedDict):
    """Counts are of sessions that were opened in the timeframe, unless it says otherwise."""

    by_hour: list[int]
    """24 counts: by hour of the day in the current time zone."""
    by_weekday: list[int]
    """7 counts, from Monday on."""
    connections_per_session: float | None
    """GET streams connected, on average over the sessions that ended; None if none did."""
    requests_per_session: float | None
    """The same of requests."""
    by_client: dict[str, int]
    """By the name that clients give themselves, the most frequent first; so are the following."""
    by_version: dict[str, int]
    """By name and version."""
    by_revision: dict[str, int]
    """By the revision of the protocol."""
    by_dialect: dict[str, int]
    """specification or guide."""
    by_end_reason: dict[str, int]
    """Of the sessions that ended: deleted, expired, idle, replaced, operator, or what your code says."""


class SessionStatistics(TypedDict):
    """What `session_stats` answers."""

    since: datetime
    """Where the timeframe begins; earlier than asked for by a part of an hour, or later, if counts say so."""
    until: datetime
    """Now."""
    total_sessions: int
    """Opened in the timeframe."""
    ended_sessions: int
    """Ended in the timeframe."""
    live_sessions: int
    """Alive now."""
    active_sessions: int
    """Of these, seen in the last 5 minutes."""
    average_duration: float | None
    """Seconds, of the sessions that ended in the timeframe; None if none did."""
    duration_percentiles: dict[str, float | None]
    """p50, p90, p95 and p99 in seconds, of the same sessions."""
    percentiles_are_exact: bool
    """False: they come in part from hourly counts, and are off by 1 % at most."""
    peak_concurrent: int
    """The most that were alive at one instant of the timeframe."""
    connection_patterns: ConnectionPatterns
    session_growth: list[Growth]
    """The timeframe in steps of a minute, or, if it is longer than three hours, of an hour."""


class SessionAnalytics:
    """Aggregates of sessions, of one endpoint (`server`, its path) or of all of them."""

    @classmethod
    def session_stats(
        cls, timeframe: timedelta = HOUR, server: str = "", *, quick: bool = False
    ) -> SessionStatistics:
        """What happened in the time until now.

        `quick` takes what was counted of whole hours even where the rows are there: for dashboards.
        Percentiles are then 1 % off.
        """
        until = timezone.now()
        span = span_of(_rows(server), *_limits(timeframe, until), quick=quick)
        figures, (live, active) = span.figures, _alive(server, until)
        return SessionStatistics(
            since=span.since,
            until=until,
            total_sessions=figures.opened,
            ended_sessions=figures.ended,
            live_sessions=live,
            active_sessions=active,
            average_duration=_per(figures.duration / 1_000_000, figures.ended),
            duration_percentiles=span.percentiles,
            percentiles_are_exact=span.is_exact,
            peak_concurrent=figures.peak,
            connection_patterns=_patterns(span),
            session_growth=grown(span.steps, figures.live, span.since, until, span.step),
        )

    @classmethod
    def get_peak_concurrent_sessions(cls, timeframe: timedelta = HOUR, server: str = "") -> int:
        """The most sessions that were alive at one instant of the timeframe."""
        return cls.session_stats(timeframe, server)["peak_concurrent"]

    @classmethod
    def get_connection_patterns(cls, timeframe: timedelta = HOUR, server: str = "") -> ConnectionPatterns:
        """Who connects, and when."""
        return _patterns(span_of(_rows(server), *_limits(timeframe, timezone.now())))


def _limits(timeframe: timedelta, until: datetime) -> tuple[datetime, datetime]:
    if not isinstance(timeframe, timedelta):
        raise TypeError(f"A timeframe is a timedelta, such as timedelta(hours=1), not {timeframe!r}.")
    if timeframe <= timedelta(0):
        raise ValueError("A timeframe is longer than nothing.")
    return until - timeframe, until


def _rows(server: str) -> Rows:
    keeper = get_row_keeper()
    if keeper is None:
        raise ConfigurationError("There are no figures without rows of sessions: SESSION_ROWS is off.")
    return Rows(keeper.alias, server)


def _alive(server: str, now: datetime) -> tuple[int, int]:
    """How many live, and how many are active. Rows beside another store do not say so: the store does."""
    store, since = get_store(), now - ACTIVE
    if store.keeps_rows:
        return _rows(server).alive(now, since)
    live = active = 0
    for path in [server] if server else served_paths():
        after = ""
        while page := store.live_sessions(path, now, after, PAGE):
            live += len(page)
            active += sum(session.last_accessed_at > since for session in page)
            after = page[-1].key
    return live, active


def _patterns(span: Span) -> ConnectionPatterns:
    figures = span.figures
    by_hour, by_weekday = patterns(span.steps)
    return ConnectionPatterns(
        by_hour=by_hour,
        by_weekday=by_weekday,
        connections_per_session=_per(figures.connections, figures.ended),
        requests_per_session=_per(figures.requests, figures.ended),
        by_client=_ordered(figures, "client"),
        by_version=_ordered(figures, "version"),
        by_revision=_ordered(figures, "revision"),
        by_dialect=_ordered(figures, "dialect"),
        by_end_reason=_ordered(figures, "reason"),
    )


def _per(amount: float, count: int) -> float | None:
    return amount / count if count else None


def _ordered(figures: Aggregates, kind: str) -> dict[str, int]:
    counts: Mapping[str, int] = figures.kinds.get(kind, {})
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
