"""The dashboard's page and figures: who may see them, what they say, and what they cost."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings as django_settings
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from mcp_sessions.admin import figures
from mcp_sessions.admin.figures import MAX_KEPT, MAX_NAMES, Kept
from mcp_sessions.analytics import SessionAnalytics
from mcp_sessions.analytics.growth import Growth
from mcp_sessions.stores import get_store
from tests.admin.people import a_stranger, a_viewer
from tests.browser.lively import fill
from tests.records import new_session
from tests.servers import DEADLINE

PAGE = reverse("admin:mcp_sessions_session_dashboard")
FIGURES = reverse("admin:mcp_sessions_session_dashboard_figures")
EVENTS = reverse("admin:mcp_sessions_session_dashboard_events")

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("process")]


@pytest.fixture
def looking(client: Client, permissions: None) -> Client:
    client.force_login(a_viewer())
    return client


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_kept", Kept())


def put(ago: timedelta, **changes: Any) -> None:
    created = timezone.now() - ago
    get_store().create(new_session(**{"created_at": created, "last_accessed_at": created, **changes}))


def data_of(page: str) -> dict[str, Any]:
    """What the page's script works with."""
    (data,) = re.findall(r'<script id="mcp-data" type="application/json">(.*?)</script>', page)
    found: dict[str, Any] = json.loads(data)
    return found


# -- who may -----------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [PAGE, FIGURES, EVENTS])
def test_whoever_has_not_logged_in_is_asked_to(client: Client, url: str) -> None:
    response = client.get(url)
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize("url", [PAGE, FIGURES, EVENTS])
def test_without_the_permission_it_is_forbidden(client: Client, permissions: None, url: str) -> None:
    client.force_login(a_stranger())
    assert client.get(url).status_code == 403


def test_the_list_links_to_it(looking: Client) -> None:
    assert f'href="{PAGE}"' in looking.get(reverse("admin:mcp_sessions_session_changelist")).content.decode()
    assert looking.get(PAGE).status_code == 200


# -- what it says ------------------------------------------------------------------------------


def test_the_page_has_the_first_figures(looking: Client) -> None:
    client = {"client": {"name": "</script><b>", "version": "1"}, "protocol_version": "2025-11-25"}
    put(timedelta(minutes=10), metadata=client, last_accessed_at=timezone.now())
    page = looking.get(PAGE, {"timeframe": "hour"}).content.decode()
    assert "</script><b>" not in page
    data = data_of(page)
    assert data["figures"]["tiles"] == {
        "live": 1,
        "active": 1,
        "opened": 1,
        "ended": 0,
        "peak": 1,
        "average": None,
        "p50": None,
        "p95": None,
    }
    assert data["figures"]["clients"] == [["</script><b>", 1]]
    assert [step["opened"] for step in data["figures"]["growth"]].count(1) == 1
    assert [(each["kind"], each["client"]) for each in data["figures"]["events"]] == [
        ("opened", "</script><b> 1")
    ]
    assert data["refresh"] == FIGURES


def test_the_figures_refresh(looking: Client) -> None:
    put(timedelta(minutes=10), server="/mcp")
    put(timedelta(hours=5), server="/other")

    def opened(**query: str) -> int:
        response = looking.get(FIGURES, query)
        assert response["Content-Type"] == "application/json"
        assert "no-store" in response["Cache-Control"]
        return int(response.json()["tiles"]["opened"])

    assert opened(timeframe="hour") == 1
    assert opened(timeframe="day") == opened(timeframe="what") == opened() == 2
    assert opened(timeframe="month", server="/other") == 1
    assert opened(server="/what") == 2


def test_it_shows_which_timeframe_and_endpoint_it_is(looking: Client) -> None:
    page = looking.get(PAGE, {"timeframe": "week", "server": "/other"}).content.decode()
    assert re.search(r'href="\?timeframe=week&amp;server=%2Fother" aria-current="page"', page)
    assert "<option selected>/other</option>" in page
    assert len(re.findall(r'aria-current="page">(?:Last hour|24 hours|7 days|30 days)', page)) == 1


def test_without_rows_it_says_that_there_are_no_figures(looking: Client, settings: Any) -> None:
    memory = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": memory, "SESSION_ROWS": False}
    assert "SESSION_ROWS is off" in looking.get(PAGE).content.decode()


def test_under_wsgi_it_does_without_a_stream(looking: Client) -> None:
    assert data_of(looking.get(PAGE).content.decode())["events"] is None
    assert looking.get(EVENTS).status_code == 503


def test_long_timeframes_have_steps_of_the_users_clock() -> None:
    first = datetime(2026, 10, 24, 20, tzinfo=UTC)  # 22:00 in Berlin, whose clocks are set back that night
    growth = [Growth(at=first + timedelta(hours=hour), opened=1, ended=hour, live=hour) for hour in range(12)]
    with timezone.override(ZoneInfo("Europe/Berlin")):
        days = figures._in_steps(growth, 24)
        thirds = figures._in_steps(growth, 3)
    assert [(step["at"], step["opened"], step["ended"], step["live"]) for step in days] == [
        (first, 2, 1, 1),
        (first + timedelta(hours=2), 10, 65, 11),
    ]
    assert [step["opened"] for step in thirds] == [2, 4, 3, 3]
    assert figures._in_steps(growth, 0) == growth


def test_charts_show_the_most_frequent_names() -> None:
    counts = {f"client {number}": 100 - number for number in range(MAX_NAMES + 2)}
    most = figures._most(counts)
    assert len(most) == MAX_NAMES + 1
    assert most[0] == ("client 0", 100)
    assert most[-1] == (None, 92 + 91)
    assert figures._most({"one": 1}) == [("one", 1)]


# -- what it costs -----------------------------------------------------------------------------


def test_it_takes_as_many_queries_whatever_there_is(looking: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "KEPT_SECONDS", 3600)

    def queries(timeframe: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert looking.get(PAGE, {"timeframe": timeframe}).status_code == 200
        return len(queries)

    empty = queries("hour")
    fill(500, 1)
    assert queries("hour") < empty
    figures._kept = Kept()
    assert queries("hour") == empty <= 20


def test_who_watches_together_has_the_figures_computed_once(
    looking: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[timedelta] = []
    measure = SessionAnalytics.session_stats

    def counting(timeframe: timedelta, *args: Any, **options: Any) -> Any:
        computed.append(timeframe)
        return measure(timeframe, *args, **options)

    monkeypatch.setattr(SessionAnalytics, "session_stats", counting)
    monkeypatch.setattr(figures, "KEPT_SECONDS", 3600)
    for timeframe in ("hour", "hour", "day", "hour", "day"):
        looking.get(FIGURES, {"timeframe": timeframe})
    assert computed == [timedelta(hours=1), timedelta(days=1)]


def test_who_asks_meanwhile_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "KEPT_SECONDS", 3600)
    kept, gate, computing = Kept(), threading.Event(), threading.Semaphore(0)
    computed: list[int] = []

    def compute() -> Any:
        computing.release()
        assert gate.wait(DEADLINE)
        computed.append(1)
        return {"total_sessions": len(computed)}

    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(kept.get, ("day",), compute) for _ in range(3)]
        assert computing.acquire(timeout=DEADLINE)
        # Nobody waits for figures of another timeframe.
        assert kept.get(("hour",), lambda: "other") == "other"  # type: ignore[arg-type, return-value]
        gate.set()
        assert [each.result(DEADLINE)["total_sessions"] for each in answers] == [1, 1, 1]


def test_what_took_long_is_kept_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(figures.time, "monotonic", lambda: clock[0])
    kept = Kept()

    def taking(seconds: float, value: str) -> Callable[[], Any]:
        def compute() -> str:
            clock[0] += seconds
            return value

        return compute

    assert kept.get(("a",), taking(4, "first")) == "first"
    clock[0] += 19
    assert kept.get(("a",), taking(0, "second")) == "first"
    clock[0] += 1
    assert kept.get(("a",), taking(0, "second")) == "second"
    clock[0] += 1.9
    assert kept.get(("a",), taking(0, "third")) == "second"
    clock[0] += 0.2
    assert kept.get(("a",), taking(0, "third")) == "third"
    for number in range(2 * MAX_KEPT):
        kept.get((str(number),), taking(0, ""))
    assert len(kept._entries) == MAX_KEPT


# -- what it ships -----------------------------------------------------------------------------


def test_its_files_can_be_collected_under_names_with_digests(tmp_path: Path, settings: Any) -> None:
    """A source map that is named and not there would keep the whole project from it."""
    settings.STATIC_ROOT = tmp_path
    manifest = {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}
    settings.STORAGES = {**django_settings.STORAGES, "staticfiles": manifest}
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["admin"])
    paths = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
    assert {"mcp_sessions/dashboard.js", "mcp_sessions/charts.js", "mcp_sessions/dashboard.css"} <= set(paths)


def test_the_chart_library_comes_with_its_licence() -> None:
    (script,) = re.findall(
        r"mcp_sessions/vendor/[\w.-]+\.js",
        Path("mcp_sessions/templates/admin/mcp_sessions/session/dashboard.html").read_text(),
    )
    found = finders.find(script)
    assert found is not None
    version = re.findall(r"chart-([\d.]+)\.umd", script)[0]
    assert f"Chart.js v{version}" in Path(found).read_text(encoding="utf-8")[:200]
    licence = finders.find(f"mcp_sessions/vendor/chart-{version}.LICENSE.md")
    assert licence is not None and "MIT" in Path(licence).read_text()
