"""SessionAnalytics, as the guide has it; and how long the rows stay that it reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from mcp_sessions import analytics
from mcp_sessions.analytics import SessionAnalytics, SessionStatistics
from mcp_sessions.analytics.aggregates import HOUR, hour_of
from mcp_sessions.analytics.growth import MINUTE, grown, patterns
from mcp_sessions.analytics.hours import LATE
from mcp_sessions.analytics.rows import Step
from mcp_sessions.analytics.statistics import ConnectionPatterns
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.lifecycle import end_session, purge, roll_up
from mcp_sessions.models import Session, SessionHour
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import run_sync
from mcp_sessions.stores import get_store
from tests.records import new_session
from tests.sessions import open_sync

DAY = 24 * HOUR
MEMORY = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("process")]


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    def change(**options: Any) -> None:
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **options}

    change(KEEP_ENDED_SECONDS=24 * 3600)
    return change


def put(ago: timedelta, lasting: timedelta | None = None, **changes: Any) -> SessionRecord:
    """A session that was opened so long ago, and ended after a while, or lives."""
    created = timezone.now() - ago
    times: dict[str, Any] = {"created_at": created, "last_accessed_at": created}
    if lasting is not None:
        ended = {"ended_at": created + lasting, "end_reason": "deleted"}
        times = {**times, **ended, "expires_at": created + lasting, "timeout_at": created + lasting}
    session = new_session(**{**times, **changes})
    get_store().create(session)
    return session


def test_it_says_what_happened_in_the_last_hour() -> None:
    claude = {"client": {"name": "Claude", "version": "1"}, "protocol_version": "2025-11-25"}
    put(3 * HOUR, HOUR)  # long over
    put(2 * HOUR, 90 * MINUTE, requests=4, connections=1)
    put(40 * MINUTE, 20 * MINUTE, requests=2, metadata=claude)
    put(35 * MINUTE, metadata=claude)
    put(10 * MINUTE, last_accessed_at=timezone.now() - MINUTE, metadata={"dialect": "guide"})
    stats = SessionAnalytics.session_stats()
    growth, connected = stats.pop("session_growth"), stats.pop("connection_patterns")  # type: ignore[misc]
    assert stats.pop("until") - stats.pop("since") == HOUR  # type: ignore[misc]
    assert stats == {
        "total_sessions": 3,
        "ended_sessions": 2,
        "live_sessions": 2,
        "active_sessions": 1,
        "average_duration": 55 * 60,
        "duration_percentiles": pytest.approx({"p50": 3300, "p90": 4980, "p95": 5190, "p99": 5358}),
        "percentiles_are_exact": True,
        "peak_concurrent": 3,
    }
    by_hour, by_weekday = connected.pop("by_hour"), connected.pop("by_weekday")  # type: ignore[misc]
    assert (sum(by_hour), len(by_hour), sum(by_weekday), len(by_weekday)) == (3, 24, 3, 7)
    assert connected == {
        "connections_per_session": 0.5,
        "requests_per_session": 3,
        "by_client": {"Claude": 2, "unknown": 1},
        "by_version": {"Claude 1": 2, "unknown": 1},
        "by_revision": {"2025-11-25": 2, "unknown": 1},
        "by_dialect": {"specification": 2, "guide": 1},
        "by_end_reason": {"deleted": 2},
    }
    assert len(growth) in (60, 61)
    assert sum(step["opened"] for step in growth) == 3
    assert sum(step["ended"] for step in growth) == 2
    assert growth[-1]["live"] == 2


def test_the_guides_names_answer_the_same() -> None:
    put(40 * MINUTE, 20 * MINUTE)
    put(30 * MINUTE)
    stats = SessionAnalytics().session_stats(timedelta(minutes=50))
    assert stats["total_sessions"] == stats["peak_concurrent"] == 2
    assert SessionAnalytics.get_peak_concurrent_sessions(timedelta(minutes=50)) == 2
    assert SessionAnalytics.get_connection_patterns(timedelta(minutes=50)) == stats["connection_patterns"]
    assert SessionAnalytics.session_stats(timedelta(minutes=35))["total_sessions"] == 1


def test_quick_figures_are_those_of_counted_hours(configure: Callable[..., None]) -> None:
    put(5 * HOUR, 2 * HOUR)
    put(2 * HOUR, HOUR)
    roll_up()
    exact, quick = [SessionAnalytics.session_stats(6 * HOUR, quick=each) for each in (False, True)]
    Session.objects.filter(ended_at__lt=timezone.now() - 2 * HOUR).delete()
    without = SessionAnalytics.session_stats(6 * HOUR, quick=True)
    for found in (quick, without):
        assert (found["ended_sessions"], found["average_duration"]) == (2, exact["average_duration"])
        assert not found["percentiles_are_exact"]


def test_one_endpoint_alone() -> None:
    put(30 * MINUTE, server="/mcp")
    put(30 * MINUTE, server="/other")
    put(20 * MINUTE, 5 * MINUTE, server="/other")
    found = [SessionAnalytics.session_stats(server=server) for server in ("", "/mcp", "/other", "/none")]
    assert [stats["total_sessions"] for stats in found] == [3, 1, 2, 0]
    assert [stats["peak_concurrent"] for stats in found] == [3, 1, 2, 0]


def test_nothing_is_there() -> None:
    stats = SessionAnalytics.session_stats()
    assert stats["average_duration"] is None
    assert set(stats["duration_percentiles"].values()) == {None}
    assert (stats["total_sessions"], stats["peak_concurrent"], stats["active_sessions"]) == (0, 0, 0)
    assert stats["connection_patterns"]["requests_per_session"] is None


def test_a_timeframe_is_longer_than_nothing() -> None:
    for timeframe in (timedelta(0), -HOUR):
        with pytest.raises(ValueError, match="timeframe"):
            SessionAnalytics.session_stats(timeframe)


def test_a_timeframe_in_seconds_is_told_what_it_should_be() -> None:
    with pytest.raises(TypeError, match=r"timedelta\(hours=1\), not 3600"):
        SessionAnalytics.session_stats(3600)  # type: ignore[arg-type]


def test_hours_and_weekdays_are_those_of_the_time_zone() -> None:
    at = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)  # a Sunday, and already Monday in Berlin
    for zone, hour, weekday in (("UTC", 23, 6), ("Europe/Berlin", 0, 0)):
        with timezone.override(ZoneInfo(zone)):
            by_hour, by_weekday = patterns([Step(at, opened=2)])
        assert (by_hour[hour], by_weekday[weekday]) == (2, 2)
        assert (sum(by_hour), sum(by_weekday)) == (2, 2)


def test_growth_has_every_step() -> None:
    since = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
    minute = since.replace(second=0)
    growth = grown([Step(minute + MINUTE, 3, 1)], 4, since, since + 2 * MINUTE, MINUTE)
    assert [(step["at"], step["opened"], step["ended"], step["live"]) for step in growth] == [
        (minute, 0, 0, 4),
        (minute + MINUTE, 3, 1, 6),
        (minute + 2 * MINUTE, 0, 0, 6),
    ]


# -- how long rows stay ----------------------------------------------------------------------


def test_what_ended_stays_for_a_while(configure: Callable[..., None]) -> None:
    old, new = put(30 * HOUR, 2 * HOUR), put(20 * HOUR, 2 * HOUR)
    lives = put(50 * HOUR)
    assert purge() == 1
    assert get_store().load_by_key(old.key) is None
    assert get_store().load_by_key(new.key) is not None
    assert get_store().load_by_key(lives.key) is not None
    configure(KEEP_ENDED_SECONDS=3600)
    assert purge() == 1
    assert get_store().load_by_key(new.key) is None


def test_figures_outlive_the_sessions(configure: Callable[..., None]) -> None:
    """Before and after a purge they are the same, but for percentiles that are 1 % off."""
    configure(KEEP_ENDED_SECONDS=60)
    first, *_ = [put(ago * HOUR, 3 * HOUR, requests=ago) for ago in (50, 30, 29, 5)]
    put(MINUTE)
    timeframe = timezone.now() - hour_of(timezone.now() - 60 * HOUR)
    before = SessionAnalytics.session_stats(timeframe)
    assert purge() == 4
    after = SessionAnalytics.session_stats(timeframe + MINUTE)
    assert Session.objects.count() == 1
    same = ("total_sessions", "ended_sessions", "average_duration", "peak_concurrent", "connection_patterns")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}  # type: ignore[literal-required]
    assert before["peak_concurrent"] == 2
    assert after["duration_percentiles"] == pytest.approx(before["duration_percentiles"], rel=0.0101)
    assert (before["percentiles_are_exact"], after["percentiles_are_exact"]) == (True, False)
    # Nothing is known of the time before the first session.
    assert after["since"] == hour_of(first.created_at)


def test_what_ended_just_now_is_not_deleted_before_its_hour_was_counted(
    configure: Callable[..., None],
) -> None:
    configure(KEEP_ENDED_SECONDS=0.001)
    put(3 * HOUR)
    key = open_sync()
    assert end_session(key)
    assert purge() == 0
    assert get_store().load_by_key(key) is not None
    counted = SessionHour.objects.filter(server="").order_by("hour").last()
    assert counted is not None and counted.hour + HOUR <= timezone.now() - LATE


def test_a_purge_counts_what_ran_out(configure: Callable[..., None]) -> None:
    """Nobody had ended it: its end is told first, and then its hour is counted."""
    ran_out = timezone.now() - 2 * HOUR
    put(3 * HOUR, expires_at=ran_out, timeout_at=ran_out)
    run_sync(analytics.aroll_up())
    hours = SessionHour.objects.filter(hour=hour_of(ran_out), server="")
    assert not hours.exists()
    assert roll_up() >= 1
    hour = hours.get()
    assert (hour.ended, hour.kinds["reason"]) == (1, {"expired": 1})
    assert roll_up() == 0


def test_with_0_nothing_is_kept_and_nothing_counted(configure: Callable[..., None]) -> None:
    configure(KEEP_ENDED_SECONDS=0)
    put(3 * HOUR, HOUR)
    end_session(open_sync())
    assert purge() == 2
    assert roll_up() == 0
    assert not SessionHour.objects.exists()


# -- sessions that another store has ---------------------------------------------------------


def test_rows_beside_another_store_stay_too(configure: Callable[..., None]) -> None:
    configure(SESSION_STORE=MEMORY)
    key = open_sync()
    run_sync(flush_deferred())
    assert end_session(key)
    assert purge() == 1
    assert get_store().load_by_key(key) is None
    assert Session.objects.get().end_reason == "operator"
    stats = SessionAnalytics.session_stats()
    assert (stats["total_sessions"], stats["ended_sessions"]) == (1, 1)


def test_another_store_is_asked_which_sessions_live_and_are_active(configure: Callable[..., None]) -> None:
    """Its rows say when a session was opened and when it ended."""
    configure(SESSION_STORE=MEMORY)
    put(HOUR, last_accessed_at=timezone.now() - MINUTE, server="/mcp")
    put(HOUR, server="/mcp")
    put(HOUR, last_accessed_at=timezone.now() - MINUTE, server="/other")
    found = [SessionAnalytics.session_stats(server=server) for server in ("", "/mcp")]
    assert [stats["active_sessions"] for stats in found] == [2, 1]
    assert [stats["live_sessions"] for stats in found] == [3, 2]


def test_no_figures_without_rows(configure: Callable[..., None]) -> None:
    configure(SESSION_STORE=MEMORY, SESSION_ROWS=False)
    with pytest.raises(ConfigurationError, match="SESSION_ROWS"):
        SessionAnalytics.session_stats()
    end_session(open_sync())
    assert purge() == 1
    assert roll_up() == 0


def test_the_example_of_the_documentation() -> None:
    page = (Path(__file__).parent.parent / "docs/analytics.md").read_text()
    (example,) = re.findall(r"<!-- tested: stats -->\n```python\n(.*?)```", page, re.DOTALL)
    put(30 * MINUTE)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["stats"]["total_sessions"] == names["week"]["total_sessions"] == 1
    rows = "\n".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))
    keys = {*SessionStatistics.__annotations__, *ConnectionPatterns.__annotations__}
    assert keys <= set(re.findall(r"`(\w+)`", rows))
