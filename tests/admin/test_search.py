"""Sessions are searched by what may be known of them, and found by their id without a trace of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from django.views.debug import SafeExceptionReporterFilter

from mcp_sessions.admin import SessionAdmin
from mcp_sessions.identifiers import digest_of, new_key, new_session_id
from mcp_sessions.lifecycle import looks_like_id
from mcp_sessions.models import Session
from mcp_sessions.records import EndReason
from tests.admin.conftest import LIST, METADATA, listed, page_of, store, told

pytestmark = pytest.mark.django_db(transaction=True)

FIND = reverse("admin:mcp_sessions_session_find")
UNKNOWN_ID = "A1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6"


@pytest.fixture
def known() -> Session:
    return store(owner="https://issuer.example user-7")


@pytest.fixture
def other() -> Session:
    return store(owner="grace", metadata={**METADATA, "address": "2001:db8::1", "client": {"name": "Zed"}})


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.",
        "inspector",
        "INSPECTOR 1",
        '"Inspector 1.2"',
        "https://iss",
        "192.0.2.7 insp",
        "insp https",
    ],
)
def test_what_begins_with_it_is_found(operator: Client, known: Session, other: Session, text: str) -> None:
    assert listed(operator, q=text) == [known.key]


@pytest.mark.parametrize(
    "text", ["nspector", "ode", "192.0.2.7 zed", "1.2", "inspector%", "'", '"', "g" * 20]
)
def test_nothing_else_is(operator: Client, known: Session, other: Session, text: str) -> None:
    assert listed(operator, q=text) == []


@pytest.mark.parametrize("text", ["code", "CODE 2", "claude code", '"code 2.1"', "plug", "intellij"])
def test_a_word_inside_a_clients_name_is_found(operator: Client, other: Session, text: str) -> None:
    named = store(metadata={**METADATA, "client": {"name": "Claude Code", "version": "2.1 plug-in/IntelliJ"}})
    assert listed(operator, q=text) == [named.key]


@pytest.mark.parametrize("length", [1, 10, 24])
def test_a_key_is_found_by_its_beginning(operator: Client, length: int) -> None:
    # With which no address, client or owner begins.
    known, _other = (store(key=f"{letter}{new_key()[1:]}") for letter in "ab")
    assert listed(operator, q=known.key[:length]) == [known.key]


def test_who_searches_finds_what_is_over(operator: Client) -> None:
    ended = store(ended_at=timezone.now(), end_reason=EndReason.IDLE)
    assert listed(operator, q=ended.key) == [ended.key]
    assert listed(operator, q=ended.key, state="live") == []


def test_a_session_is_found_by_its_id(operator: Client) -> None:
    session_id = new_session_id()
    session = store(digest=digest_of(session_id))
    response = operator.post(FIND, {"session_id": f" {session_id} "})
    assert response.status_code == 302
    assert response.headers["Location"] == page_of(session)
    assert operator.post(FIND, {"session_id": session.key}).headers["Location"] == page_of(session)


@pytest.mark.parametrize("given", [UNKNOWN_ID, "", "x" * 500, "a\x00b", "ü"])
def test_an_id_of_no_session_is_not_repeated(operator: Client, known: Session, given: str) -> None:
    response = operator.post(FIND, {"session_id": given}, follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert told(response) == ["There is no session with this id."]
    assert not given or given not in response.content.decode()


def test_an_id_is_posted_from_the_page_itself_only(permissions: None, operator: Client) -> None:
    assert operator.get(FIND, {"session_id": "a"}).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.post(FIND, {"session_id": "a"}).status_code == 403


def test_an_error_report_hides_it(operator: Client, rf: RequestFactory, monkeypatch: Any) -> None:
    requests: list[Any] = []

    def fail(admin: Any, request: Any) -> Any:
        requests.append(request)
        raise ZeroDivisionError

    monkeypatch.setattr(SessionAdmin, "get_queryset", fail)
    operator.raise_request_exception = False
    session_id = new_session_id()
    assert operator.post(FIND, {"session_id": session_id}).status_code == 500
    reported = SafeExceptionReporterFilter().get_post_parameters(requests[0])
    assert session_id not in str(reported)
    assert "session_id" in reported


@pytest.mark.parametrize("text", ["{}", " {} ", "owner {}"])
def test_an_id_in_the_search_is_not_looked_for(
    operator: Client, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = new_session_id()
    store(digest=digest_of(session_id))
    with caplog.at_level(logging.DEBUG):
        response = operator.get(LIST, {"q": text.format(session_id), "state": "all"}, follow=True)
    assert response.redirect_chain == [(f"{LIST}?state=all", 302)]
    (message,) = told(response)
    assert "Full session id" in message
    assert "better end that session" in message
    assert session_id not in response.content.decode()
    assert session_id not in caplog.text


def test_a_key_is_no_id(settings: Any) -> None:
    assert looks_like_id(new_session_id())
    assert not looks_like_id("0123456789abcdef01234567")
    assert not looks_like_id("Inspector")
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_VALIDATION": "lenient"}
    assert looks_like_id("a-session-id-of-another-form")
    assert not looks_like_id("0123456789abcdef01234567")


@pytest.mark.parametrize("operator", [["view_session"]], indirect=True)
@pytest.mark.parametrize(
    "lookup",
    [
        "data__contains",
        "data__regex",
        "metadata__contains",
        "digest__startswith",
        "lease_token__gt",
        "streams__id",
    ],
)
def test_nobody_reads_columns_by_asking_how_many_there_are(
    operator: Client, known: Session, lookup: str
) -> None:
    """Django's lists admit any lookup in a URL; the data and the digest are not for everybody."""
    assert operator.get(LIST, {lookup: "1"}).status_code == 400
    assert operator.get(LIST, {"created_at__year": timezone.now().year}).status_code == 200


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_quoted_id_is_not_searched_for_either(operator: Client, known: Session, quote: str) -> None:
    response = operator.get(LIST, {"q": f"{quote}{UNKNOWN_ID}{quote}"})
    assert (response.status_code, response.headers["Location"]) == (302, LIST)
