"""Live sessions of the whole cluster, counted now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import pytest
from django.db import connections

from mcp_sessions.deferred import flush_deferred
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.lifecycle import end, keep_counting, live_count, open_session
from mcp_sessions.metrics import count_active
from mcp_sessions.metrics import counting as asking
from mcp_sessions.runtime import adopt
from mcp_sessions.stores import get_store
from mcp_sessions.stores.database import DatabaseSessionStore
from tests.metrics.receivers import CountNoting
from tests.process import eventually, in_thread
from tests.records import new_session as new_record
from tests.servers import DEADLINE

HERE: Final = "tests.metrics.receivers"
PAUSE: Final = 0.2


class TimedStore(DatabaseSessionStore):
    """Notes when it was asked, and when it had answered."""

    times: Final[list[tuple[float, float]]] = []

    def count_live(self, now: datetime) -> int:
        began = time.monotonic()
        found = super().count_live(now)
        self.times.append((began, time.monotonic()))
        return found


@pytest.fixture
def counts(process: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    monkeypatch.setattr(live_count, "MIN_PAUSE", PAUSE)
    # Or a count that takes a tenth of a second has the next one wait for longer than a test does.
    monkeypatch.setattr(live_count, "PAUSE_RATIO", 0)
    settings.MCP_SESSIONS = {
        **settings.MCP_SESSIONS,
        "SESSION_METRICS": [f"{HERE}.Failing", f"{HERE}.CountNoting"],
        "SESSION_STORE": {"BACKEND": f"{__name__}.TimedStore"},
    }
    CountNoting.counts.clear()
    TimedStore.times.clear()
    yield CountNoting.counts
    CountNoting.counts.clear()


async def test_it_follows_what_happens_here_and_rests_between(
    counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_count, "MAX_PAUSE", 2 * DEADLINE)
    adopt()
    keys = [(await open_session("/mcp", "", {}))[1].key for _ in range(5)]
    await eventually(lambda: counts[-1:] == [5])
    for key in keys:
        await end(key, "deleted")
    await eventually(lambda: counts[-1:] == [0])
    for (_, answered), (asked, _) in zip(TimedStore.times, TimedStore.times[1:], strict=False):
        assert asked - answered >= PAUSE


async def test_it_finds_what_happens_elsewhere(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that serves, and has no session of its own."""
    monkeypatch.setattr(live_count, "MAX_PAUSE", 2 * PAUSE)
    adopt()
    keep_counting()
    await eventually(lambda: counts[-1:] == [0])
    elsewhere = new_record()
    await get_store().acreate(elsewhere)
    await eventually(lambda: counts[-1] == 1)
    # As another process does, which tells of it there.
    await get_store().aend(elsewhere.key, elsewhere.created_at, "operator")
    await eventually(lambda: counts[-1] == 0)


async def test_a_store_that_fails_is_asked_again(
    counts: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_count, "MAX_PAUSE", PAUSE)
    errors = [StoreUnavailable("away"), RuntimeError("no room")]

    def count_live(*_: Any) -> int:
        if errors:
            raise errors.pop()
        return 7

    monkeypatch.setattr(TimedStore, "count_live", count_live)
    adopt()
    keep_counting()
    await eventually(lambda: counts[-1:] == [7])
    assert "background work 'count of live sessions' fails and is retried: away" in caplog.text
    assert "no room" in caplog.text


async def test_nobody_is_asked_where_nobody_wants_to_know(counts: list[int], settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_METRICS": f"{HERE}.Noting"}
    adopt()
    await open_session("/mcp", "", {})
    await flush_deferred()
    assert (counts, TimedStore.times) == ([], [])


async def test_a_pause_grows_with_the_store(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A count that takes long is not the store's main work."""
    monkeypatch.setattr(live_count, "MIN_PAUSE", 0.0)
    monkeypatch.setattr(live_count, "MAX_PAUSE", 0.0)
    monkeypatch.setattr(live_count, "PAUSE_RATIO", 10)
    adopt()
    keep_counting()
    await eventually(lambda: len(TimedStore.times) >= 4)
    for (began, answered), (asked, _) in zip(TimedStore.times, TimedStore.times[1:], strict=False):
        assert asked - answered >= live_count.PAUSE_RATIO * (answered - began)


def test_one_count_serves_all_who_ask(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FRESH_SECONDS", 2 * DEADLINE)
    get_store().create(new_record())
    assert [count_active() for _ in range(3)] == [1, 1, 1]
    assert len(TimedStore.times) == 1
    monkeypatch.setattr(asking, "FRESH_SECONDS", -1)
    get_store().create(new_record())
    assert count_active() == 2


async def test_an_exporters_thread_keeps_no_connection(counts: list[int]) -> None:
    left: list[Any] = []

    def ask() -> None:
        assert count_active() == 0
        left.append(connections["default"].connection)

    thread = threading.Thread(target=ask)
    thread.start()
    await in_thread(lambda: thread.join(DEADLINE))
    assert left == [None]
