"""The list of sessions: what it shows, what it is narrowed by, and what it costs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from mcp_sessions.admin import listing
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.models import Session
from mcp_sessions.records import Append, EndReason
from mcp_sessions.stores import get_rows, get_store
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import messages, put_read, put_stream
from tests.admin.conftest import LIST, listed, store, text_of, told
from tests.records import new_session

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = timedelta(seconds=1)
MEMORY = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}


def cells(page: str) -> list[dict[str, str]]:
    """The text of each row's cells, by the names of their columns."""
    rows = re.findall(r"<tr>(.*?)</tr>", page.split("<tbody>")[1], re.DOTALL)
    pattern = re.compile(r'<t[dh] class="field-(\w+)[^"]*">(.*?)</t[dh]>', re.DOTALL)
    return [{name: re.sub("<[^>]+>", "", cell) for name, cell in pattern.findall(row)} for row in rows]


def test_a_row_says_what_an_operator_asks(operator: Client) -> None:
    now = timezone.now()
    session = store(
        owner="ada",
        created_at=now - timedelta(hours=3, minutes=1),
        last_accessed_at=now - timedelta(minutes=7, seconds=1),
        expires_at=now + timedelta(days=2, hours=1),
        requests=12,
    )
    (row,) = cells(text_of(operator, LIST))
    assert row == {
        "short_key": f"{session.key[:8]}…",
        "state": "live",
        "client_name": "Inspector 1.2",
        "owner_name": "ada",
        "client_address": "192.0.2.7",
        "revision": "2025-11-25",
        "opened": "3 h ago",
        "seen": "7 min ago",
        "ends": "in 2 d",
        "streams_open": "0",
        "calls_running": "0",
        "requests": "12",
    }


def test_a_row_of_a_client_that_said_nothing(operator: Client) -> None:
    store(metadata={"dialect": "guide", "user_agent": "curl/8"})
    (row,) = cells(text_of(operator, LIST))
    assert (row["client_name"], row["owner_name"], row["client_address"]) == ("curl/8", "-", "-")
    assert row["revision"] == "- guide"


def test_what_a_client_says_is_no_markup(operator: Client) -> None:
    store(metadata={"client": {"name": "<script>alert(1)</script>"}}, owner='"><b>')
    page = text_of(operator, LIST)
    assert "<script>alert" not in page
    assert '"><b>' not in page


def test_live_sessions_unless_others_are_asked_for(operator: Client) -> None:
    now = timezone.now()
    live = store().key
    expired = store(expires_at=now - SECOND).key
    ended = store(ended_at=now, end_reason=EndReason.IDLE).key
    assert listed(operator) == listed(operator, state="live") == [live]
    assert listed(operator, state="expired") == [expired]
    assert listed(operator, state="ended") == listed(operator, state="all", end_reason="idle") == [ended]
    assert listed(operator, state="all", end_reason="deleted") == []
    # A reason alone is of sessions that have ended.
    assert listed(operator, end_reason="idle") == [ended]
    assert set(listed(operator, state="all")) == {live, expired, ended}


def test_the_filter_says_which_state_is_listed(operator: Client) -> None:
    def selected(**query: str) -> list[str]:
        (states, *_) = operator.get(LIST, query).context["cl"].filter_specs
        choices = states.choices(operator.get(LIST, query).context["cl"])
        assert [str(each["display"]) for each in choices] == ["Live", "Expired", "Ended", "All"]
        return [str(each["display"]) for each in choices if each["selected"]]

    assert (selected(), selected(state="ended"), selected(q="a")) == (["Live"], ["Ended"], ["All"])


def test_no_filter_contradicts_another(operator: Client) -> None:
    """Whoever chooses a reason in a list of live sessions does not find none."""
    store(ended_at=timezone.now(), end_reason=EndReason.IDLE)
    changelist = operator.get(LIST, {"state": "live"}).context["cl"]
    (idle,) = [each for each in changelist.filter_specs[-1].choices(changelist) if each["display"] == "idle"]
    assert idle["query_string"] == "?end_reason=idle"
    changelist = operator.get(LIST, {"end_reason": "idle"}).context["cl"]
    states = {str(each["display"]): each for each in changelist.filter_specs[0].choices(changelist)}
    assert [name for name, each in states.items() if each["selected"]] == ["Ended"]
    assert states["Live"]["query_string"] == "?state=live"
    assert set(states["Ended"]["query_string"][1:].split("&")) == {"end_reason=idle", "state=ended"}


def test_show_all_shows_all(operator: Client) -> None:
    store(ended_at=timezone.now(), end_reason=EndReason.IDLE)
    for query in ({}, {"q": "nobody"}):
        links = re.findall(r'<a href="([^"]*)">Show all</a>', text_of(operator, LIST, query))
        assert set(links) == {"?state=all"}
    assert len(listed(operator, state="all")) == 1


def test_an_empty_list_says_so(operator: Client) -> None:
    assert "No session is live." in text_of(operator, LIST)
    assert "No session matches." in text_of(operator, LIST, {"q": "nobody"})
    store()
    assert "mcp-none" not in text_of(operator, LIST)


def test_one_endpoint(operator: Client) -> None:
    here, there = store(server="/mcp").key, store(server="/other").key
    assert listed(operator, server="/mcp") == [here]
    assert listed(operator, server="/other") == [there]


def test_the_newest_comes_first(operator: Client) -> None:
    now = timezone.now()
    keys = [store(created_at=now - minutes * timedelta(minutes=1)).key for minutes in (3, 1, 2)]
    assert listed(operator) == [keys[1], keys[2], keys[0]]
    assert listed(operator, o="7") == [keys[0], keys[2], keys[1]]


def open_streams(session: Session) -> None:
    """Two connections, a running call, and what is neither: a stream that was left, and one that ended."""
    record = new_session(key=session.key)
    for _ in range(2):
        put_read(get_store(), record)
    put_stream(get_store(), record)
    put_stream(get_store(), record, "call", "worker")
    over = put_stream(get_store(), record, "post", "worker")
    get_store().append([Append(over, messages("a"), ends=True, writer="worker")])


def test_what_is_open_of_each(operator: Client) -> None:
    now = timezone.now()
    quiet, busy = store(created_at=now - SECOND), store()
    open_streams(busy)
    rows = {
        row["short_key"]: (row["streams_open"], row["calls_running"])
        for row in cells(text_of(operator, LIST))
    }
    assert rows == {f"{busy.key[:8]}…": ("2", "1"), f"{quiet.key[:8]}…": ("0", "0")}


def test_a_full_page_costs_as_much_as_one_row(
    operator: Client, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four for who asks and what he may do, the count, the page, and the two ends of the days.

    And one question to the store, on a connection of its own.
    """
    asked: list[int] = []
    find = DatabaseSessionStore.find_streams

    def find_and_count(self: DatabaseSessionStore, *args: Any, **options: Any) -> Any:
        asked.append(len(options["sessions"]))
        return find(self, *args, **options)

    monkeypatch.setattr(DatabaseSessionStore, "find_streams", find_and_count)
    open_streams(store())
    with django_assert_num_queries(8):
        assert len(listed(operator)) == 1
    for _ in range(120):
        store()
    with django_assert_num_queries(8) as queries:
        assert len(listed(operator)) == 100
    assert asked == [1, 100]
    assert not any('"data"' in query["sql"] or "`data`" in query["sql"] for query in queries)


def test_it_is_counted_no_further_than_a_bound(
    operator: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(listing, "BOUND", 3)
    settings.USE_THOUSAND_SEPARATOR = True
    for _ in range(3):
        store()
    page = text_of(operator, LIST)
    assert "3 sessions" in page
    assert "3+ " not in page
    store()
    page = text_of(operator, LIST)
    assert "3+ sessions" in page
    assert "3+ results" in page
    assert "Only the first 3 are listed" in page


def test_the_pages_end_at_the_bound(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "BOUND", 100)
    for _ in range(101):
        store()
    changelist = operator.get(LIST).context["cl"]
    assert (str(changelist.result_count), changelist.paginator.num_pages) == ("100+", 1)


def days(client: Client, **query: Any) -> list[str]:
    page = text_of(client, LIST, {"state": "all", **query})
    (found,) = re.findall(r'<nav class="toplinks"[^>]*>(.*?)</nav>', page, re.DOTALL)
    # Django 6 has a heading before the days.
    found = re.sub('<span id="date-hierarchy-label">.*?</span>', "", found)
    lines = re.sub("<[^>]+>", "", found).replace("&lsaquo;", "<").split("\n")
    return [each.strip() for each in lines if each.strip()]


def test_the_days_from_the_first_session_to_the_last(operator: Client) -> None:
    for day in (28, 30):
        store(created_at=datetime(2026, 10, day, 12, tzinfo=UTC))
    assert days(operator) == ["< 2026", "October 28", "October 29", "October 30"]
    store(created_at=datetime(2026, 11, 2, tzinfo=UTC))
    assert days(operator) == ["< All dates", "October 2026", "November 2026"]
    november = {"created_at__year": 2026, "created_at__month": 11}
    assert days(operator, **november) == ["< 2026", "November 1", "November 2"]
    assert days(operator, **november, created_at__day=2) == ["< November 2026", "November 2"]
    assert len(listed(operator, state="all", **november)) == 1
    store(created_at=datetime(2025, 1, 1, tzinfo=UTC))
    assert days(operator) == ["2025", "2026"]
    assert days(operator, created_at__year=2025)[:2] == ["< All dates", "January 2025"]


def test_days_are_those_of_the_operators_zone(operator: Client, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    store(created_at=datetime(2026, 10, 30, 23, 30, tzinfo=UTC))
    assert days(operator) == ["< 2026", "October 31"]


def test_no_session_has_no_days(operator: Client) -> None:
    assert "0 sessions" in text_of(operator, LIST)


def test_a_store_that_is_away_leaves_the_list(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    store()

    def refuse(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(DatabaseSessionStore, "find_streams", refuse)
    response = operator.get(LIST)
    (row,) = cells(response.content.decode())
    assert (row["streams_open"], row["calls_running"]) == ("?", "?")
    assert told(response) == [
        "The session store cannot be reached: open streams and running calls are unknown."
    ]


def test_sessions_of_another_store_are_listed_by_their_rows(operator: Client, settings: Any) -> None:
    """What is open is asked of the store, and is not known of what only another process has."""
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": MEMORY}
    here, elsewhere = new_session(), new_session()
    rows: Any = get_rows()
    for record in (here, elsewhere):
        rows.create(record)
    get_store().create(here)
    put_read(get_store(), here)
    page = text_of(operator, LIST)
    found = {row["short_key"]: (row["streams_open"], row["calls_running"]) for row in cells(page)}
    assert found == {f"{here.key[:8]}…": ("1", "0"), f"{elsewhere.key[:8]}…": ("?", "?")}
    assert "The session store is not this database." in page


def test_no_id_and_no_digest_is_in_the_page(operator: Client) -> None:
    session = store(metadata={"client": json.loads('{"name": "a"}')})
    assert session.digest not in text_of(operator, LIST)
