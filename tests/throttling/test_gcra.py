"""Rates and the arithmetic of limits: whatever comes, no more is admitted than the rate says, and no less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions.conf import MICROSECONDS, Rate, parse_rate
from mcp_sessions.gcra import Charge, charge, wait

RATES = st.builds(Rate, st.integers(1, 1000), st.sampled_from([1, 60, 3600]), st.integers(1, 50))
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 3 * 60 * MICROSECONDS), st.integers(1, 5)), min_size=1, max_size=60
)
"""(Microseconds since the one before, cost) of each."""


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("600/min", Rate(600, 60, 600)),
        ("600/minute, burst 100", Rate(600, 60, 100)),
        ("5/s", Rate(5, 1, 5)),
        ("5 / sec, burst 1", Rate(5, 1, 1)),
        ("1000/h", Rate(1000, 3600, 1000)),
        ("1000/day,burst 10", Rate(1000, 86400, 10)),
    ],
)
def test_rates_are_read_as_they_are_written(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    ["", "600", "/min", "0/min", "-1/min", "1.5/s", "600/week", "600/min burst 5", "5/s, burst 0", "5/s\n"],
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        parse_rate(text)


@given(RATES)
def test_a_rate_is_never_exceeded_by_rounding(rate: Rate) -> None:
    assert rate.interval * rate.count >= rate.seconds * MICROSECONDS
    assert (rate.interval - 1) * rate.count < rate.seconds * MICROSECONDS


@given(RATES, ARRIVALS)
def test_in_no_period_more_is_admitted_than_burst_and_rate(
    rate: Rate, arrivals: list[tuple[int, int]]
) -> None:
    now, tat, admitted = 1, 0, list[tuple[int, int]]()
    for pause, cost in arrivals:
        now += pause
        tat, charged = charge(tat, now, Charge("a", rate, cost))
        assert charged.ahead == max(tat - now, 0) <= rate.burst * rate.interval
        if charged.is_admitted:
            admitted.append((now, cost))
    for first, (since, _) in enumerate(admitted):
        count = 0
        for until, cost in admitted[first:]:
            count += cost
            assert (count - rate.burst) * rate.interval <= until - since


@given(RATES, ARRIVALS)
def test_who_waits_as_told_is_admitted_and_who_comes_a_moment_earlier_is_not(
    rate: Rate, arrivals: list[tuple[int, int]]
) -> None:
    now, tat = 1, 0
    for pause, cost in arrivals:
        now += pause
        asked = Charge("a", rate, min(cost, rate.burst))
        waiting = wait(tat, now, rate, asked.cost)
        if waiting:
            early_tat, early = charge(tat, now + waiting - 1, asked)
            assert not early.is_admitted
            assert early_tat == max(tat, now + waiting - 1), "what is refused counts for nothing"
        now += waiting
        tat, charged = charge(tat, now, asked)
        assert charged.is_admitted


@given(RATES, st.integers(0, 100))
def test_after_a_rest_all_of_the_burst_is_there_again(rate: Rate, spent: int) -> None:
    tat, _ = charge(0, 1, Charge("a", rate, rate.burst, spent))
    _, charged = charge(tat, max(tat, 1), Charge("a", rate, rate.burst))
    assert charged.is_admitted


@given(RATES, st.integers(1, 50), st.integers(0, 50))
def test_what_was_spent_counts_in_any_case(rate: Rate, cost: int, spent: int) -> None:
    tat, charged = charge(0, 1, Charge("a", rate, cost, spent))
    assert charged.is_admitted == (spent + cost <= rate.burst)
    assert tat == 1 + (spent + (cost if charged.is_admitted else 0)) * rate.interval
