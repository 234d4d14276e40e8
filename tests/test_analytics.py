"""Figures on sessions: checked against a slow, obvious computation, on every database."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_sessions.analytics import breakdown
from mcp_sessions.analytics.aggregates import HOUR, MIN_MICROSECONDS, RATIO, hour_of
from mcp_sessions.analytics.growth import MINUTE
from mcp_sessions.analytics.hours import LATE, MAX_HOURS, make_deletable, roll_up
from mcp_sessions.analytics.hours import store as store_hour
from mcp_sessions.analytics.rows import Rows
from mcp_sessions.analytics.spans import Span, span_of
from mcp_sessions.models import Session, SessionHour
from mcp_sessions.stores.database import DatabaseSessionStore
from tests.obvious import MICROSECOND, NOW, Life, Obvious, lives
from tests.stores.database.aliases import on
from tests.stores.database.fixtures import DatabaseFixtures

THIS_HOUR = NOW.replace(minute=0)


def class_of(microseconds: int) -> int:
    """The class of a duration; queries do the same in SQL, and may differ by one at a class's very limit."""
    if microseconds < MIN_MICROSECONDS:
        return 0
    return 1 + math.floor(math.log(microseconds / MIN_MICROSECONDS) / math.log(RATIO))


def put(alias: str, found: Sequence[Life]) -> None:
    """These sessions and no others; no hour was counted."""
    Session.objects.using(alias).all().delete()
    SessionHour.objects.using(alias).all().delete()
    Session.objects.using(alias).bulk_create(life.row(number) for number, life in enumerate(found))


def a_life(created: datetime, over: datetime, server: str = "/mcp", **changes: Any) -> Life:
    life = Life(server, created, over, over if over <= NOW else None, "deleted", False, 1, 1, 1)
    return Life(**{**asdict(life), **changes})


def hours_of(alias: str) -> list[dict[str, Any]]:
    rows = SessionHour.objects.using(alias).order_by("hour", "server")
    return [{**row, "id": None} for row in rows.values()]


def as_compared(span: Span) -> dict[str, Any]:
    """All that stays exact; steps by the hour, as counted hours have them."""
    figures = asdict(span.figures)
    del figures["durations"]
    hours: dict[datetime, tuple[int, int]] = {}
    for step in span.steps:
        opened, ended = hours.get(hour := hour_of(step.at), (0, 0))
        hours[hour] = (opened + step.opened, ended + step.ended)
    happened = {hour: counts for hour, counts in hours.items() if any(counts)}
    return {**figures, "steps": happened, "since": span.since}


class AnalyticsContract(DatabaseFixtures):
    examples: ClassVar[int]

    def holds(self, test: Callable[..., None], *given_by: Any, share: int = 1) -> None:
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
        examples = max(self.examples // share, 4)
        settings(max_examples=examples, deadline=None, suppress_health_check=checks)(given(*given_by)(test))()

    def test_the_rows_say_what_counting_says(self, store: DatabaseSessionStore, alias: str) -> None:
        def says(found: list[Life], server: str, quarters: int, is_odd: bool) -> None:
            put(alias, found)
            since = NOW - timedelta(minutes=15 * quarters + 20) + (MICROSECOND if is_odd else timedelta(0))
            expected = Obvious([each for each in found if server in ("", each.server)], since, NOW)
            rows = Rows(alias, server)
            for step in (MINUTE, HOUR):
                figures, steps = rows.measured(since, NOW, step)
                assert {each.at: (each.opened, each.ended) for each in steps} == expected.steps(step)
            assert figures.opened == len(expected.opened)
            assert figures.ended == len(expected.ended)
            assert figures.live == expected.live_at(since - MICROSECOND)
            assert figures.peak == expected.peak
            assert figures.duration == sum(expected.durations)
            assert figures.requests == sum(each.requests for each in expected.ended)
            assert figures.connections == sum(each.connections for each in expected.ended)
            assert figures.kinds == expected.kinds
            percentiles = rows.percentiles(since, NOW)
            if expected.ended:
                wanted = {percent: expected.percentile(percent) for percent in (50, 90, 95, 99)}
                assert percentiles == pytest.approx(wanted, abs=0.01)
            else:
                assert percentiles == {}

        quarters, servers = st.integers(0, 24), st.sampled_from(["", "/mcp", "/other", "/none"])
        self.holds(says, st.lists(lives(6), max_size=25), servers, quarters, st.booleans())

    def test_counted_hours_say_what_the_rows_said(self, store: DatabaseSessionStore, alias: str) -> None:
        """Before and after the sessions were deleted, whatever part of them."""

        def says(found: list[Life], server: str, kept: int, asked: int) -> None:
            put(alias, found)
            store.expire(NOW, 1000)
            first = min(each.created for each in found).replace(minute=0, second=0, microsecond=0)
            since = max(THIS_HOUR - asked * HOUR, first)
            # Their classes are not needed, as long as the rows are there.
            rows = Rows(alias, server)
            figures, steps = rows.measured(since, NOW, HOUR)
            assert roll_up(alias, NOW) == max((THIS_HOUR - first) // HOUR, 0)
            said = Span(since, HOUR, steps, figures, {}, True)
            quick = span_of(rows, since, NOW, quick=True)
            if (before := make_deletable(alias, NOW - kept * HOUR)) is not None:
                store.purge(before, 1000)
            after = span_of(rows, since, NOW)
            assert as_compared(quick) == as_compared(after) == as_compared(said)
            expected = Obvious([each for each in found if server in ("", each.server)], since, NOW)
            for span in (quick, after):
                if not span.is_exact:
                    self.is_close(span, expected)

        self.holds(
            says,
            st.lists(lives(5), min_size=1, max_size=20),
            st.sampled_from(["", "/mcp", "/other"]),
            st.integers(0, 5),
            st.integers(1, 7),
            share=3,
        )

    def is_close(self, span: Span, expected: Obvious) -> None:
        """1 % more or less than the duration at the place below."""
        for percent in (50, 90, 95, 99):
            duration = expected.durations[percent * (len(expected.durations) - 1) // 100]
            found = span.percentiles[f"p{percent}"]
            assert found == pytest.approx(duration / 1_000_000, rel=0.0101, abs=0.001)

    def test_classes_are_those_of_the_formula(self, store: DatabaseSessionStore, alias: str) -> None:
        lengths = [0, 1, 999, 1500, 10**6, 123_456_789, 3600 * 10**6, 10**12]
        put(alias, [a_life(NOW - HOUR - length * MICROSECOND, NOW - HOUR) for length in lengths])
        counts = Rows(alias).durations(NOW - HOUR, NOW)
        assert sum(counts.values()) == len(lengths)
        assert sorted(counts) == sorted({class_of(length) for length in lengths})

    def test_clocks_that_disagree_make_no_negative_durations(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        put(alias, [a_life(NOW - MINUTE, NOW - 2 * MINUTE), a_life(NOW - 2 * MINUTE, NOW - MINUTE)])
        figures, _ = Rows(alias).measured(NOW - HOUR, NOW, HOUR)
        assert (figures.duration, figures.peak, figures.ended) == (60 * 10**6, 1, 2)
        assert Rows(alias).percentiles(NOW - HOUR, NOW)[50] == 30 * 10**6
        assert Rows(alias).durations(NOW - HOUR, NOW) == {0: 1, class_of(60 * 10**6): 1}

    def test_a_client_with_many_names_is_counted_as_others(
        self, store: DatabaseSessionStore, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(breakdown, "MAX_COMBINATIONS", 2)
        begun = NOW - 2 * MINUTE
        put(alias, [a_life(begun, NOW, client=number) for number in (1, 1, 1, 2, 2, 3, 4, 5)])
        kinds = Rows(alias).kinds(NOW - HOUR, NOW)
        assert kinds["client"] == {"Claude": 5, "other": 3}
        assert kinds["version"] == {"Claude 1.2": 3, "Claude 2": 2, "other": 3}
        assert kinds["dialect"] == {"specification": 5, "other": 3}

    # -- hours -----------------------------------------------------------------------------

    def test_an_hour_counted_twice_is_the_same(self, store: DatabaseSessionStore, alias: str) -> None:
        """Even if its sessions are gone by then, or somebody adds what belongs there."""
        put(alias, [a_life(NOW - 3 * HOUR, NOW - 2 * HOUR), a_life(NOW - 3 * HOUR, NOW, "/other")])
        assert roll_up(alias, NOW) == 3
        counted = hours_of(alias)
        assert {row["server"] for row in counted} == {"", "/mcp", "/other"}
        Session.objects.using(alias).filter(server="/mcp").delete()
        Session.objects.using(alias).bulk_create([a_life(NOW - 3 * HOUR, NOW, "/third").row(7)])
        assert roll_up(alias, NOW) == 0
        for hours_ago in (3, 2, 1):
            store_hour(alias, THIS_HOUR - hours_ago * HOUR)
        assert hours_of(alias) == counted

    def test_two_that_count_at_once_are_as_one(self, store: DatabaseSessionStore, alias: str) -> None:
        def count() -> int:
            try:
                return roll_up(alias, NOW)
            finally:
                connections[alias].close()

        put(alias, [a_life(NOW - n * HOUR, NOW - MINUTE, f"/{n % 3}") for n in range(1, 9)])
        roll_up(alias, NOW)
        alone = hours_of(alias)
        SessionHour.objects.using(alias).all().delete()
        with ThreadPoolExecutor(3) as executor:
            list(executor.map(lambda _: count(), range(3)))
        assert hours_of(alias) == alone

    def test_an_hour_is_stored_as_a_whole_or_not_at_all(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """The last of its rows cannot be stored; the next time it can."""
        put(alias, [a_life(NOW - 2 * HOUR, NOW - MINUTE), a_life(NOW - 2 * HOUR, NOW - MINUTE, "/other")])
        blocked = SessionHour.objects.using(alias).create(
            **dict.fromkeys(("opened", "ended", "live", "peak", "duration", "requests", "connections"), 0),
            hour=THIS_HOUR - HOUR,
            server="/other",
            kinds={},
            durations={},
        )
        store_hour(alias, THIS_HOUR - HOUR)
        assert [row["id"] for row in SessionHour.objects.using(alias).values("id")] == [blocked.pk]
        blocked.delete()
        store_hour(alias, THIS_HOUR - HOUR)
        assert {row["server"] for row in hours_of(alias)} == {"", "/mcp", "/other"}

    def test_an_hour_waits_until_nothing_of_it_changes(self, store: DatabaseSessionStore, alias: str) -> None:
        put(alias, [a_life(NOW - HOUR, NOW - MINUTE)])
        assert roll_up(alias, THIS_HOUR + LATE - MICROSECOND) == 0
        # Its time ran out, and it was not ended yet: a use that is written late may prolong it.
        put(alias, [a_life(NOW - HOUR, THIS_HOUR - MINUTE, ended=None)])
        assert roll_up(alias, NOW) == 0
        store.expire(NOW, 10)
        assert roll_up(alias, NOW) == 1

    def test_hours_are_counted_without_a_gap(self, store: DatabaseSessionStore, alias: str) -> None:
        """Also those in which nothing was, and in bounded portions."""
        put(alias, [a_life(NOW - (MAX_HOURS + 5) * HOUR, NOW - (MAX_HOURS + 4) * HOUR)])
        assert [roll_up(alias, NOW) for _ in range(3)] == [MAX_HOURS, 5, 0]
        hours = [row["hour"] for row in hours_of(alias) if row["server"] == ""]
        assert {later - earlier for earlier, later in pairwise(hours)} == {HOUR}
        assert hours[-1] + HOUR == THIS_HOUR

    def test_only_what_was_counted_can_be_deleted(self, store: DatabaseSessionStore, alias: str) -> None:
        put(alias, [a_life(NOW - 3 * HOUR, THIS_HOUR - HOUR), a_life(NOW - 3 * HOUR, THIS_HOUR)])
        assert make_deletable(alias, NOW) is None
        roll_up(alias, NOW)
        before = make_deletable(alias, NOW + 7 * HOUR)
        assert before == THIS_HOUR - MICROSECOND
        assert store.purge(before, 10) == 1
        assert make_deletable(alias, NOW - 2 * HOUR) == THIS_HOUR - 2 * HOUR - MICROSECOND
        # What may be gone is gone for good, for whoever measures.
        assert span_of(Rows(alias), NOW - 2 * HOUR, NOW).figures.ended == 2

    def test_figures_are_few_queries_however_many_sessions(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        counts = []
        for many in (1, 60):
            put(alias, [a_life(NOW - 3 * HOUR, NOW - n * MINUTE) for n in range(many)])
            roll_up(alias, NOW)
            make_deletable(alias, NOW - HOUR)
            for since in (NOW - MINUTE, NOW - 30 * HOUR):
                with CaptureQueriesContext(connections[alias]) as queries:
                    span_of(Rows(alias), since, NOW)
                counts.append(len(queries))
        assert counts[:2] == counts[2:]
        assert max(counts) <= 12


@on("default")
class TestDefault(AnalyticsContract):
    examples = 50

    @pytest.fixture
    def alias(self) -> str:
        return "default"


@on("postgres")
class TestPostgreSQL(AnalyticsContract):
    examples = 10

    @pytest.fixture
    def alias(self) -> str:
        return "postgres"


@on("mariadb")
class TestMariaDB(AnalyticsContract):
    examples = 10

    @pytest.fixture
    def alias(self) -> str:
        return "mariadb"
