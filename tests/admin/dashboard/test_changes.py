"""What a feed is told: every opening and end once, however late their rows become visible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_sessions.analytics import changes as changes_module
from mcp_sessions.analytics.changes import MAX_CHANGES, OVERLAP, SessionChange, SessionChanges, recent
from mcp_sessions.delivery.watermark import GAP_SECONDS
from mcp_sessions.models import Session

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def row(number: int, opened: float = 0, expires: float = 3600, **changes: object) -> Session:
    return Session(
        pk=number,
        key=f"key-{number}",
        digest=f"digest-{number}",
        server="/mcp",
        created_at=after(opened),
        last_accessed_at=after(opened),
        expires_at=after(expires),
        timeout_at=after(expires),
        **changes,
    )


@dataclass(frozen=True)
class Life:
    """Seconds from the start on: what happens, and how much later it can be seen."""

    opened: float
    seen_after: float
    lasting: float
    end_seen_after: float | None
    """None: its time runs out, and nobody ends it."""

    def happens(self, number: int) -> list[tuple[float, Callable[[], object]]]:
        over = self.opened + self.lasting
        seen = self.opened + self.seen_after
        if self.end_seen_after is None:
            return [(seen, row(number, self.opened, over).save)]
        end = Session.objects.filter(pk=number).update
        changes = {"ended_at": after(over), "end_reason": "deleted"}
        return [
            (seen, row(number, self.opened).save),
            (max(seen, over + self.end_seen_after), lambda: end(**changes)),
        ]


late = OVERLAP.total_seconds() - 3
# Longer than rows may be late: what has ended before its row was seen is told as well.
lives = st.builds(
    Life,
    opened=st.floats(0, 15),
    seen_after=st.floats(0, GAP_SECONDS - 3),
    lasting=st.floats(0.001, 12),
    end_seen_after=st.none() | st.floats(0, late),
)


def test_everything_is_told_once() -> None:
    def told(found: list[Life], pauses: list[float]) -> None:
        Session.objects.all().delete()
        # Numbers are given out when the transactions begin.
        in_order = sorted(found, key=lambda life: life.opened)
        happenings = [each for number, life in enumerate(in_order, 1) for each in life.happens(number)]
        waiting = sorted(happenings, key=lambda each: each[0])
        changes, now, heard = SessionChanges("default", START), 0.0, Counter[tuple[str, str]]()
        while now < 45:
            while waiting and waiting[0][0] <= now:
                waiting.pop(0)[1]()
            heard.update((each.kind, each.key) for each in changes.take(after(now), now))
            pauses.append(pauses.pop(0))
            now += pauses[0]
        names = [f"key-{number}" for number in range(1, len(found) + 1)]
        assert heard == Counter((kind, name) for kind in ("opened", "ended") for name in names)

    pauses = st.lists(st.floats(0.5, 2), min_size=1, max_size=5)
    checks = [HealthCheck.too_slow]
    example = given(st.lists(lives, min_size=1, max_size=8), pauses)
    settings(max_examples=20, deadline=None, suppress_health_check=checks)(example(told))()


def test_what_a_purge_ends_later_was_told_when_its_time_ran_out() -> None:
    row(1, -60, 5).save()
    changes = SessionChanges("default", START)
    assert [(each.kind, each.reason, each.at) for each in changes.take(after(6), 6)] == [
        ("ended", "expired", after(5))
    ]
    Session.objects.update(ended_at=after(5), end_reason="expired")
    assert changes.take(after(7), 7) == []
    assert changes.take(after(300), 300) == []


def test_rows_beside_another_store_do_not_know_when_they_end() -> None:
    row(1, -60, 5).save()
    changes = SessionChanges("default", START, False)
    assert changes.take(after(6), 6) == []
    assert recent("default", after(6), False)[0].kind == "opened"
    Session.objects.update(ended_at=after(6), end_reason="idle")
    assert [each.reason for each in changes.take(after(7), 7)] == ["idle"]


def test_what_was_long_ago_is_no_news() -> None:
    row(1, -60).save()
    row(2, -90, 3600, ended_at=after(-30)).save()
    row(3, -5).save()
    assert [each.key for each in SessionChanges("default", START).take(START, 0)] == ["key-3"]


def test_a_look_reads_no_more_than_a_page_shows() -> None:
    Session.objects.bulk_create(row(number, number / 1000) for number in range(1, 200))
    changes = SessionChanges("default", START)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = changes.take(after(1), 1)
    assert [each.key for each in found] == [f"key-{number}" for number in range(200 - MAX_CHANGES, 200)]
    assert len(queries) == 3
    assert all(f"LIMIT {MAX_CHANGES}" in query["sql"] for query in queries)


def test_a_look_that_fails_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = SessionChanges("default", START)
    row(1, 0.5).save()

    def failing(*args: object) -> list[SessionChange]:
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(changes_module, "_ends", failing)
        with pytest.raises(OperationalError):
            changes.take(after(1), 1)
    assert [each.key for each in changes.take(after(2), 2)] == ["key-1"]


def test_the_newest_come_first() -> None:
    client = {"client": {"name": "Claude", "version": "2"}, "address": "192.0.2.7", "user_agent": "a browser"}
    row(1, -50, metadata=client).save()
    row(2, -40, -20).save()
    row(3, -30, metadata={"user_agent": "curl"}, ended_at=after(-10), end_reason="deleted").save()
    found = recent("default", START)
    assert [(each.kind, each.key) for each in found] == [
        *(("ended", "key-3"), ("ended", "key-2"), ("opened", "key-3")),
        *(("opened", "key-2"), ("opened", "key-1")),
    ]
    assert found[0] == SessionChange("ended", after(-10), 3, "key-3", "/mcp", "curl", "", "deleted")
    assert (found[-1].client, found[-1].address) == ("Claude 2", "192.0.2.7")
