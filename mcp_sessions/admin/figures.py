"""The dashboard's figures: session_stats, as its page draws them. Durations are seconds."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import groupby, islice
from typing import Any, Final, NamedTuple

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from mcp_sessions.admin.owners import users_of
from mcp_sessions.analytics import SessionAnalytics, SessionStatistics
from mcp_sessions.analytics.changes import recent
from mcp_sessions.analytics.growth import Growth
from mcp_sessions.analytics.refusals import RefusedInHour, refusals, refused_by_hour
from mcp_sessions.stores import get_row_keeper, get_store

TIMEFRAMES: Final = {
    "hour": (timedelta(hours=1), _("Last hour")),
    "day": (timedelta(days=1), _("24 hours")),
    "week": (timedelta(days=7), _("7 days")),
    "month": (timedelta(days=30), _("30 days")),
}
DEFAULT_TIMEFRAME: Final = "day"
HOURS_IN_STEP: Final = {"week": 3, "month": 24}
"""Of timeframes with more steps than a chart can show."""
MAX_NAMES: Final = 8
"""In one chart; the rest is one more."""

REFUSALS: Final = 10
"""So many of the last are shown."""

KEPT_SECONDS: Final = 2.0
KEPT_TIMES: Final = 5
"""Figures are kept so many times as long as they took: watching takes a sixth of one connection at most."""
MAX_KEPT: Final = 64


class Measured(NamedTuple):
    """What is computed for a timeframe and an endpoint."""

    stats: SessionStatistics
    refused: list[RefusedInHour]


class Kept:
    """What was computed a moment ago, whoever asked. Who asks meanwhile waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, ...], _Entry] = OrderedDict()

    def get(self, name: tuple[str, ...], compute: Callable[[], Measured]) -> Measured:
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            self._entries.move_to_end(name)
            while len(self._entries) > MAX_KEPT:
                self._entries.popitem(last=False)
        return entry.get(compute)


class _Entry:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: Measured | None = None
        self._until = 0.0

    def get(self, compute: Callable[[], Measured]) -> Measured:
        with self._lock:
            began = time.monotonic()
            if self._value is None or began >= self._until:
                self._value = compute()
                now = time.monotonic()
                self._until = now + max(KEPT_SECONDS, KEPT_TIMES * (now - began))
            return self._value


_kept = Kept()


def figures(timeframe: str, server: str) -> dict[str, Any]:
    """What the page shows of a timeframe of TIMEFRAMES, of one endpoint or of all ("")."""
    # By the hour of the day and the weekday of the user's time zone.
    name = (timeframe, server, timezone.get_current_timezone_name())
    measured = _kept.get(name, lambda: _measured(timeframe, server))
    return {**_drawn(timeframe, measured), "events": events(), "last_refusals": last_refusals(server)}


def events() -> list[dict[str, Any]]:
    """The newest, the newest first."""
    if (rows := get_row_keeper()) is None:
        return []
    return [asdict(each) for each in recent(rows.alias, timezone.now(), get_store().keeps_rows)]


def last_refusals(server: str) -> list[dict[str, Any]]:
    """The newest, the newest first."""
    if (rows := get_row_keeper()) is None:
        return []
    found = list(refusals(rows.alias, server)[:REFUSALS])
    users = users_of(each.owner for each in found)
    return [
        {
            "at": each.last_at,
            **{name: getattr(each, name) for name in ("reason", "count", "server", "address", "key")},
            "owner": str(users.get(each.owner, each.owner)),
        }
        for each in found
    ]


def _measured(timeframe: str, server: str) -> Measured:
    length, _label = TIMEFRAMES[timeframe]
    # The last hour is shown by minutes, which counted hours have not.
    stats = SessionAnalytics.session_stats(length, server, quick=timeframe != "hour")
    rows, until = get_row_keeper(), stats["until"]
    refused = [] if rows is None else refused_by_hour(rows.alias, server, until - length, until)
    return Measured(stats, refused)


def _drawn(timeframe: str, measured: Measured) -> dict[str, Any]:
    stats = measured.stats
    patterns, percentiles = stats["connection_patterns"], stats["duration_percentiles"]
    return {
        "until": stats["until"],
        "tiles": {
            "live": stats["live_sessions"],
            "active": stats["active_sessions"],
            "opened": stats["total_sessions"],
            "ended": stats["ended_sessions"],
            "peak": stats["peak_concurrent"],
            "average": stats["average_duration"],
            "p50": percentiles["p50"],
            "p95": percentiles["p95"],
        },
        "growth": _in_steps(stats["session_growth"], HOURS_IN_STEP.get(timeframe, 0)),
        "durations": percentiles,
        "clients": _most(patterns["by_client"]),
        "revisions": _most(patterns["by_revision"]),
        "reasons": _most(patterns["by_end_reason"]),
        "refused": _refused(measured.refused, HOURS_IN_STEP.get(timeframe, 1)),
        "hours": patterns["by_hour"],
        "weekdays": patterns["by_weekday"],
    }


def _most(counts: Mapping[str, int]) -> list[tuple[str | None, int]]:
    """The most frequent names with their counts; None has the rest."""
    rest = sum(islice(counts.values(), MAX_NAMES, None))
    most: list[tuple[str | None, int]] = list(islice(counts.items(), MAX_NAMES))
    return [*most, (None, rest)] if rest else most


def _in_steps(growth: Iterable[Growth], hours: int) -> list[Growth]:
    """The same in steps of so many hours of the user's clock."""
    if not hours:
        return list(growth)
    return [_together(list(steps)) for _, steps in groupby(growth, lambda each: _step_of(each["at"], hours))]


def _step_of(at: datetime, hours: int) -> datetime:
    local = timezone.localtime(at)
    return local.replace(hour=local.hour - local.hour % hours, minute=0)


def _refused(by_hour: Iterable[RefusedInHour], hours: int) -> dict[str, Any]:
    """When each step began, and of each reason how many were refused in each, the most frequent first."""
    steps = [list(step) for _, step in groupby(by_hour, lambda each: _step_of(each["at"], hours))]
    counts = [sum((Counter(each["counts"]) for each in step), Counter[str]()) for step in steps]
    total = sum(counts, Counter[str]())
    return {
        "steps": [step[0]["at"] for step in steps],
        "reasons": [(reason, [count[reason] for count in counts]) for reason, _ in total.most_common()],
    }


def _together(steps: list[Growth]) -> Growth:
    opened, ended = (sum(each[name] for each in steps) for name in ("opened", "ended"))
    return Growth(at=steps[0]["at"], opened=opened, ended=ended, live=steps[-1]["live"])
