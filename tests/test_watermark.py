"""Which numbers are new, whatever the order in which they become visible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions.delivery.watermark import GAP_SECONDS, Watermark

# Quarters of a second: their sums are exact, so that instants can be compared.
QUARTER = 0.25
QUARTERS_OF_GAP = int(GAP_SECONDS / QUARTER)
STEPS = st.integers(0, 2 * QUARTERS_OF_GAP).map(lambda quarters: quarters * QUARTER)
DELAYS = st.integers(0, QUARTERS_OF_GAP - 1).map(lambda quarters: quarters * QUARTER)


@dataclass(frozen=True)
class Number:
    """A number, when it was given out, and when it becomes visible: never, if it was rolled back."""

    value: int
    given_at: float
    visible_at: float | None

    def is_visible(self, now: float) -> bool:
        return self.visible_at is not None and self.visible_at <= now

    def is_to_come(self, now: float) -> bool:
        return self.visible_at is not None and self.visible_at > now


@st.composite
def numbers(draw: st.DrawFn, low: int = 0) -> list[Number]:
    found = []
    now = 0.0
    for value in range(low + 1, low + 1 + draw(st.integers(0, 25))):
        now += draw(st.sampled_from([0.0, 0.0, QUARTER, 1.0])) if draw(st.booleans()) else 0.0
        delay = draw(st.none() | DELAYS)
        found.append(Number(value, now, None if delay is None else now + delay))
    return found


def looks(intervals: list[float], until: float) -> Iterator[float]:
    """When somebody looks: after these intervals, and then until everything is seen and settled."""
    now = 0.0
    for interval in intervals:
        now += interval
        yield now
    until = max(until, now) + 2 * GAP_SECONDS
    while now < until:
        now += 1.0
        yield now


def look(watermark: Watermark, given_out: list[Number], now: float) -> list[int]:
    visible = [number.value for number in given_out if number.is_visible(now)]
    return watermark.take([value for value in visible if value > watermark.low], now)


def over(given_out: list[Number]) -> float:
    """When everything that becomes visible has become so."""
    return max((number.given_at for number in given_out), default=0.0) + GAP_SECONDS


@given(numbers(low=3), st.lists(STEPS, max_size=30))
def test_each_number_is_taken_once(given_out: list[Number], intervals: list[float]) -> None:
    watermark = Watermark(3)
    taken = [each for now in looks(intervals, over(given_out)) for each in look(watermark, given_out, now)]
    assert sorted(taken) == [number.value for number in given_out if number.visible_at is not None]


@given(numbers(), st.lists(STEPS, max_size=30))
def test_it_never_passes_a_number_that_is_still_to_come(
    given_out: list[Number], intervals: list[float]
) -> None:
    watermark = Watermark(0)
    for now in looks(intervals, over(given_out)):
        before = watermark.low
        look(watermark, given_out, now)
        assert watermark.low >= before
        assert all(number.value > watermark.low for number in given_out if number.is_to_come(now))


@given(numbers(), st.lists(STEPS, max_size=30))
def test_a_gap_that_never_fills_holds_nothing_up_for_longer(
    given_out: list[Number], intervals: list[float]
) -> None:
    watermark = Watermark(0)
    taken_at: dict[int, float] = {}
    for now in looks(intervals, over(given_out)):
        taken_at.update(dict.fromkeys(look(watermark, given_out, now), now))
        settled = [value for value, at in taken_at.items() if now - at >= GAP_SECONDS]
        assert watermark.low >= max(settled, default=0)
    assert watermark.low == max(taken_at, default=0)


@given(numbers(), st.lists(STEPS, max_size=30))
def test_it_remembers_only_what_was_taken_within_the_gap(
    given_out: list[Number], intervals: list[float]
) -> None:
    watermark = Watermark(0)
    taken_at: dict[int, float] = {}
    for now in looks(intervals, over(given_out)):
        taken_at.update(dict.fromkeys(look(watermark, given_out, now), now))
        young = {value for value, at in taken_at.items() if now - at < GAP_SECONDS}
        assert watermark._seen.keys() == {value for value in young if value > watermark.low}
    assert not watermark._seen


@given(st.integers(0, 10**12), st.lists(st.integers(0, 5), max_size=20))
def test_without_gaps_everything_is_settled_at_once(low: int, counts: list[int]) -> None:
    watermark = Watermark(low)
    for count in counts:
        new = list(range(watermark.low + 1, watermark.low + 1 + count))
        assert watermark.take(new, 0.0) == new
        assert not watermark._seen
    assert watermark.low == low + sum(counts)


def test_a_gap_is_waited_for_so_long() -> None:
    watermark = Watermark(10)
    assert watermark.take([12, 13], 0.0) == [12, 13]
    assert watermark.low == 10
    assert watermark.take([12, 13], GAP_SECONDS - QUARTER) == []
    assert watermark.low == 10
    assert watermark.take([11, 12, 13], GAP_SECONDS) == [11]
    assert watermark.low == 13


def test_a_number_that_comes_in_time_closes_its_gap() -> None:
    watermark = Watermark(0)
    assert watermark.take([3, 1], 0.0) == [3, 1]
    assert watermark.low == 1
    assert watermark.take([2, 3, 4], QUARTER) == [2, 4]
    assert watermark.low == 4
