"""The page of one session: all that is known of it, for those who may see it."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from mcp_sessions.admin.rows import instant
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.models import Session
from mcp_sessions.records import Append, EndReason
from mcp_sessions.stores import get_rows, get_store
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import put_read, put_stream
from tests.admin.conftest import EVERYTHING, METADATA, page_of, store, text_of
from tests.records import new_session

pytestmark = pytest.mark.django_db(transaction=True)

MEMORY = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}
WITHOUT_PAYLOAD = [each for each in EVERYTHING if each != "view_session_payload"]


def context_of(client: Client, session: Session) -> Any:
    response = client.get(page_of(session))
    assert response.status_code == 200
    return response.context


@pytest.fixture
def live() -> Session:
    return store(owner="ada", data={"worklist": [1, "ü <b>"]}, requests=5)


def test_its_facts(operator: Client, live: Session) -> None:
    page = text_of(operator, page_of(live))
    for fact in (live.key, "live", "Inspector 1.2", "ada", "192.0.2.7", "2025-11-25", "/mcp"):
        assert fact in page
    assert ">in 59 min</time>" in page
    assert "0 streams, 0 calls" in page
    assert live.digest not in page


def test_what_tools_keep_is_readable_json(operator: Client, live: Session) -> None:
    page = html.unescape(text_of(operator, page_of(live)))
    assert json.dumps({"worklist": [1, "ü <b>"]}, indent=2, ensure_ascii=False) in page
    said = {name: value for name, value in METADATA.items() if name != "address"}
    assert json.dumps(said, indent=2, sort_keys=True) in page
    assert '"address"' not in page
    assert "ü <b>" not in text_of(operator, page_of(live))


def test_what_is_open_and_what_was_sent(operator: Client, live: Session) -> None:
    record = new_session(key=live.key)
    read = put_read(get_store(), record, "reader-1")
    running = put_stream(get_store(), record, "post", "writer-1", [7, "a"])
    get_store().append([Append(read, (("note", '{"text": "hello"}'), ("long", "x" * 500)))])
    context = context_of(operator, live)
    assert [stream.name for stream in context["found"].connections] == [read]
    assert [each["record"].name for each in context["streams"]] == [running, read]
    assert [each["entry"].event.name for each in context["events"]] == ["long", "note"]
    page = html.unescape(text_of(operator, page_of(live)))
    for shown in ("1 stream, 1 call", "reader-1", '7, "a"', "call running", "connected", "0 of 2", "note"):
        assert shown in page
    assert '<code>{"text": "hello"}</code>' in page
    assert f"<summary><code>{'x' * 160}…</code></summary><pre>{'x' * 500}</pre>" in page


def test_no_more_is_shown_than_can_be_read(operator: Client, live: Session) -> None:
    record = new_session(key=live.key)
    names = [put_stream(get_store(), record) for _ in range(25)]
    get_store().append([Append(name, (("note", "1"),) * 3) for name in names])
    context = context_of(operator, live)
    assert [each["record"].name for each in context["streams"]] == names[:4:-1]
    assert len(context["events"]) == 20
    assert "and 5 older ones." in text_of(operator, page_of(live))


@pytest.mark.parametrize("operator", [WITHOUT_PAYLOAD], indirect=True)
def test_payload_takes_its_permission(
    operator: Client, live: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is not even read."""
    name = put_stream(get_store(), new_session(key=live.key))
    get_store().append([Append(name, (("note", "secret"),))])
    monkeypatch.setattr(DatabaseSessionStore, "last_events", None)
    page = text_of(operator, page_of(live))
    assert "worklist" not in page
    assert "secret" not in page
    assert page.count("You need the permission to view") == 2
    assert name in page


def test_an_ended_session_says_why(operator: Client) -> None:
    ended = store(ended_at=timezone.now() - timedelta(hours=2), end_reason=EndReason.REPLACED)
    page = html.unescape(text_of(operator, page_of(ended)))
    assert "replaced" in page
    assert ">2 h ago</time>" in page
    for name in ("end", "extend", "send"):
        assert page_of(ended, name) not in page
    expired = store(expires_at=timezone.now() - timedelta(hours=2))
    assert "Expired" in text_of(operator, page_of(expired))


def test_an_instant_is_how_far_away_it_is() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for seconds, shown in ((0, "now"), (0.4, "now"), (-59, "59 s ago"), (61, "in 1 min"), (-7300, "2 h ago")):
        assert f">{shown}<" in instant(now + timedelta(seconds=seconds), now)
    assert 'title="2026-03-01 14:00:00"' in instant(now + timedelta(hours=2), now)


def test_what_is_not_there_is_said(operator: Client) -> None:
    page = html.unescape(text_of(operator, page_of(store(metadata={"address": "192.0.2.7"}))))
    for words in ("The session has no data", "Its client has said nothing", "There are no stored events"):
        assert words in page
    assert "{}" not in page


def test_an_event_is_offered_to_who_takes_it(operator: Client, live: Session) -> None:
    guide = store(metadata={**METADATA, "dialect": "guide"})
    assert page_of(guide, "send") in text_of(operator, page_of(guide))
    page = text_of(operator, page_of(live))
    assert page_of(live, "send") not in page
    assert page_of(live, "end") in page


@pytest.mark.parametrize("operator", [["view_session"]], indirect=True)
def test_who_may_only_look_has_no_buttons(operator: Client, live: Session) -> None:
    assert page_of(live, "end") not in text_of(operator, page_of(live))


def test_who_may_has_them(operator: Client, live: Session) -> None:
    for name in ("end", "extend", "history"):
        assert page_of(live, name) in text_of(operator, page_of(live))


def test_data_that_cannot_be_read(operator: Client, live: Session) -> None:
    Session.objects.update(data="{")
    page = text_of(operator, page_of(live))
    assert "data cannot be read" in page
    assert "Inspector 1.2" in page


def test_a_store_that_is_away(operator: Client, live: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise StoreUnavailable("The session store cannot be reached: away")

    monkeypatch.setattr(DatabaseSessionStore, "load_by_key", refuse)
    page = text_of(operator, page_of(live))
    assert "cannot be reached: away" in page
    assert "Inspector 1.2" in page


def test_a_session_of_another_store(operator: Client, settings: Any) -> None:
    """What it has now is asked of the store; what the row says is older."""
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": MEMORY}
    record = new_session(metadata=METADATA, data={"worklist": [1]}, requests=9)
    rows: Any = get_rows()
    rows.create(record)
    row = Session.objects.get()
    elsewhere = text_of(operator, page_of(row))
    assert "in the memory of another process" in elsewhere
    assert "Inspector 1.2" in elsewhere
    get_store().create(record)
    page = text_of(operator, page_of(row))
    assert "another process" not in page
    assert "worklist" in page


def test_a_session_that_is_gone(operator: Client, live: Session) -> None:
    url = page_of(live)
    live.delete()
    assert operator.get(url).status_code == 302
