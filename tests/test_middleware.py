"""SessionMiddleware: the session of a request, for every other view."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from mcp_sessions.identifiers import digest_of, new_session_id
from mcp_sessions.middleware import SessionMiddleware
from mcp_sessions.stores import get_store
from tests.records import new_session

pytestmark = pytest.mark.django_db(transaction=True)


def seen(**request: Any) -> HttpRequest:
    """The request as a view behind the middleware sees it."""
    views: list[HttpRequest] = []

    def view(found: HttpRequest) -> HttpResponse:
        views.append(found)
        return HttpResponse()

    path = request.pop("path", "/shop")
    SessionMiddleware(view)(RequestFactory().get(path, headers=request))
    return views[0]


@pytest.fixture
def session_id() -> str:
    session_id = new_session_id()
    get_store().create(new_session(digest=digest_of(session_id), data={"basket": ["A1"]}))
    return session_id


@pytest.mark.parametrize("header", ["Mcp-Session-Id", "X-Session-ID"])
def test_a_header_names_the_session(session_id: str, header: str) -> None:
    request: Any = seen(**{header: session_id})
    assert request.mcp_session_id == session_id
    assert request.mcp_session.data == {"basket": ["A1"]}


def test_so_does_the_query(session_id: str) -> None:
    request: Any = seen(path=f"/shop?session_id={session_id}")
    assert request.mcp_session.data == {"basket": ["A1"]}


def test_nothing_is_loaded_until_it_is_looked_at(
    session_id: str, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    store = get_store()
    load = store.load
    monkeypatch.setattr(store, "load", lambda digest: loads.append(digest) or load(digest))
    request: Any = seen(**{"X-Session-ID": session_id})
    assert loads == []
    assert request.mcp_session
    assert request.mcp_session.key
    assert loads == [digest_of(session_id)]


@pytest.mark.parametrize(
    "named", [{}, {"X-Session-ID": "A" * 32}, {"X-Session-ID": "A" * 32, "Mcp-Session-Id": "B" * 32}]
)
def test_without_a_live_session_it_is_false(named: dict[str, str]) -> None:
    request: Any = seen(**named)
    assert not request.mcp_session


def test_an_expired_session_is_none() -> None:
    session_id = new_session_id()
    past = timezone.now() - timedelta(seconds=1)
    get_store().create(new_session(digest=digest_of(session_id), expires_at=past))
    request: Any = seen(**{"X-Session-ID": session_id})
    assert not request.mcp_session


def test_a_key_opens_nothing() -> None:
    session = new_session()
    get_store().create(session)
    request: Any = seen(**{"X-Session-ID": session.key})
    assert not request.mcp_session
