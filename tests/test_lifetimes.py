"""When sessions end: all arithmetic on time, over time zones and the edges of clocks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions.lifetimes import LAST, Lifetimes, expiry_reason, later, latest_writing
from mcp_sessions.records import EndReason, SessionRecord, Touch

# With summer time, half hours, and the ends of the clock.
ZONES = st.sampled_from(
    [UTC, *map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"))]
)
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=ZONES)
SECONDS = st.floats(0.001, 10_000_000)
LIFETIMES = st.builds(Lifetimes, SECONDS, st.none() | SECONDS, st.none() | SECONDS, st.none() | SECONDS)


def opened(lifetimes: Lifetimes, now: datetime) -> SessionRecord:
    expires_at, timeout_at = lifetimes.at_opening(now)
    return SessionRecord("k", "d", "/mcp", "", now, now, expires_at, timeout_at)


def after(session: SessionRecord, touch: Touch) -> SessionRecord:
    """The session once the touch was written."""
    return replace(
        session,
        last_accessed_at=touch.last_accessed_at,
        expires_at=max(session.expires_at, touch.expires_at),
        timeout_at=max(session.timeout_at, touch.timeout_at),
    )


def seconds_between(start: datetime, end: datetime) -> float:
    return (end.astimezone(UTC) - start.astimezone(UTC)).total_seconds()


@given(LIFETIMES, INSTANTS)
def test_a_new_session_lives_as_long_as_its_shortest_limit(lifetimes: Lifetimes, now: datetime) -> None:
    session = opened(lifetimes, now)
    limits = (lifetimes.timeout, lifetimes.idle_timeout, lifetimes.max_lifetime)
    shortest = min(limit for limit in limits if limit is not None)
    assert abs(seconds_between(now, session.expires_at) - shortest) <= 1e-5
    assert not session.is_live(session.expires_at)


@given(LIFETIMES, INSTANTS, INSTANTS, st.booleans())
def test_no_use_makes_a_session_shorter(
    lifetimes: Lifetimes, created: datetime, now: datetime, is_request: bool
) -> None:
    session = opened(lifetimes, created)
    touch = lifetimes.used(session, now) if is_request else lifetimes.held(session, now)
    assert touch.expires_at >= session.expires_at
    assert touch.timeout_at >= session.timeout_at
    assert touch.expires_at <= touch.timeout_at


@given(LIFETIMES, INSTANTS, st.lists(st.tuples(st.floats(0, 1_000_000), st.booleans()), max_size=8))
def test_nothing_outlives_the_maximum(
    lifetimes: Lifetimes, now: datetime, uses: list[tuple[float, bool]]
) -> None:
    session = opened(lifetimes, now)
    for seconds, is_request in uses:
        at = later(now, seconds)
        session = after(
            session, lifetimes.used(session, at) if is_request else lifetimes.extended(session, at, seconds)
        )
        if lifetimes.max_lifetime is not None:
            assert seconds_between(now, session.expires_at) <= lifetimes.max_lifetime + 1e-5


@given(SECONDS, INSTANTS, SECONDS)
def test_without_a_threshold_every_use_counts_in_full(timeout: float, now: datetime, past: float) -> None:
    lifetimes = Lifetimes(timeout)
    session, at = opened(lifetimes, now), later(now, past)
    assert lifetimes.used(session, at).expires_at == max(session.expires_at, later(at, timeout))


@given(SECONDS, SECONDS, INSTANTS, SECONDS)
def test_the_end_moves_only_when_less_than_the_threshold_remains(
    timeout: float, threshold: float, now: datetime, past: float
) -> None:
    lifetimes = Lifetimes(timeout, refresh_threshold=threshold)
    session, at = opened(lifetimes, now), later(now, past)
    moved = lifetimes.used(session, at).expires_at != session.expires_at
    remaining = session.expires_at - at
    assert moved == (remaining < timedelta(seconds=threshold) and later(at, timeout) > session.expires_at)


@given(SECONDS, SECONDS, INSTANTS, SECONDS)
def test_what_is_held_does_not_idle_but_times_out(
    timeout: float, idle: float, now: datetime, past: float
) -> None:
    lifetimes = Lifetimes(timeout, idle_timeout=idle)
    session, at = opened(lifetimes, now), later(now, past)
    touch = lifetimes.held(session, at)
    assert touch.timeout_at == session.timeout_at
    assert touch.expires_at == max(session.expires_at, min(session.timeout_at, later(at, idle)))


@given(SECONDS, SECONDS, INSTANTS)
def test_held_at_every_half_it_lives_to_its_timeout(timeout: float, idle: float, now: datetime) -> None:
    lifetimes = Lifetimes(timeout, idle_timeout=idle)
    session = opened(lifetimes, now)
    for _ in range(50):
        at = session.last_accessed_at + (session.expires_at - session.last_accessed_at) / 2
        session = after(session, lifetimes.held(session, at))
    reached = seconds_between(now, session.expires_at)
    assert reached >= min(timeout, 25 * idle) - 1e-3


@given(LIFETIMES, INSTANTS, SECONDS, SECONDS)
def test_an_extension_lasts_whether_it_is_used_or_not(
    lifetimes: Lifetimes, now: datetime, past: float, seconds: float
) -> None:
    session, at = opened(lifetimes, now), later(now, past)
    touch = lifetimes.extended(session, at, seconds)
    latest = LAST if lifetimes.max_lifetime is None else later(now, lifetimes.max_lifetime)
    assert touch.expires_at == max(session.expires_at, min(later(at, seconds), latest))
    assert touch.timeout_at >= touch.expires_at
    assert touch.last_accessed_at == session.last_accessed_at


@given(LIFETIMES, INSTANTS, SECONDS)
def test_using_twice_at_one_instant_is_using_once(lifetimes: Lifetimes, now: datetime, past: float) -> None:
    session, at = opened(lifetimes, now), later(now, past)
    once = after(session, lifetimes.used(session, at))
    assert after(once, lifetimes.used(once, at)) == once


@given(LIFETIMES, INSTANTS, ZONES, SECONDS)
def test_the_zone_of_an_instant_changes_nothing(
    lifetimes: Lifetimes, now: datetime, zone: ZoneInfo, past: float
) -> None:
    here, there = opened(lifetimes, now), opened(lifetimes, now.astimezone(zone))
    assert here.expires_at.astimezone(UTC) == there.expires_at.astimezone(UTC)
    at = later(now, past)
    touches = [
        lifetimes.used(session, each) for session in (here, there) for each in (at, at.astimezone(zone))
    ]
    assert len({(touch.expires_at, touch.timeout_at) for touch in touches}) == 1


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    before = datetime(2026, 10, 25, 2, 30, tzinfo=berlin)
    session = opened(Lifetimes(1800), before)
    assert session.is_live(before)
    assert not session.is_live(before.replace(fold=1))
    assert seconds_between(before, session.expires_at) == 1800


@given(INSTANTS, st.floats(1e12, 1e300))
def test_what_no_clock_can_show_ends_last(now: datetime, seconds: float) -> None:
    assert later(now, seconds) == LAST
    assert opened(Lifetimes(seconds, None, seconds, seconds), now).expires_at == LAST


@given(SECONDS, LIFETIMES)
def test_uses_are_written_well_before_the_session_expires(touch: float, lifetimes: Lifetimes) -> None:
    interval = lifetimes.flush_interval(touch)
    assert 0 < interval <= touch
    assert interval * 4 <= min(lifetimes.timeout, lifetimes.idle_timeout or lifetimes.timeout)


@given(INSTANTS, SECONDS)
def test_a_use_is_written_while_others_still_find_the_session_live(now: datetime, left: float) -> None:
    session = opened(Lifetimes(left), now)
    seconds = latest_writing(session.expires_at, later(now, 0))
    assert 0 <= seconds <= left
    assert session.is_live(later(now, seconds)) or left < 1e-5


@given(INSTANTS, SECONDS)
def test_a_use_of_what_has_expired_is_written_at_once(now: datetime, late: float) -> None:
    assert latest_writing(now, later(now, 0)) == 0
    assert latest_writing(now, later(now, late)) == 0


@given(LIFETIMES, INSTANTS)
def test_why_a_session_expires(lifetimes: Lifetimes, now: datetime) -> None:
    session = opened(lifetimes, now)
    is_idle = session.expires_at < session.timeout_at
    assert expiry_reason(session.expires_at, session.timeout_at) == (
        EndReason.IDLE if is_idle else EndReason.EXPIRED
    )
    assert is_idle <= (lifetimes.idle_timeout is not None)
