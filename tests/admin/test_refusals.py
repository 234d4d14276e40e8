"""What operators see of refused requests: the list, a file, a session's page, and the dashboard's figures."""

from __future__ import annotations

import csv
import html
import io
from datetime import timedelta
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mcp_sessions.analytics.refusals import store_refusals
from mcp_sessions.models import Session
from mcp_sessions.principals import user_owner
from mcp_sessions.records import Refusal, RefusalCount
from tests.admin.conftest import page_of, store, text_of

pytestmark = pytest.mark.django_db(transaction=True)

LIST: Final = reverse("admin:mcp_sessions_refusalhour_changelist")
DASHBOARD: Final = reverse("admin:mcp_sessions_session_dashboard_figures")


def refuse(reason: str, address: str = "192.0.2.7", owner: str = "", key: str = "", count: int = 1) -> None:
    refusal = Refusal("/mcp", reason, address, owner, key, count)
    store_refusals("default", [RefusalCount(refusal, timezone.now())])


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def session(ann: User) -> Session:
    """Ann's; somebody else has tried to use it, and she has had no scope for something."""
    session = store(owner=user_owner(ann.pk))
    refuse("owner", "198.51.100.9", "mallory", session.key, 12)
    refuse("insufficient_scope", owner=session.owner, count=3)
    refuse("invalid_token", "203.0.113.5")
    return session


def listed(client: Client, **query: Any) -> list[str]:
    response = client.get(LIST, query)
    assert response.status_code == 200, response
    return [row.reason for row in response.context["cl"].result_list]


def test_the_list(operator: Client, session: Session) -> None:
    page = html.unescape(text_of(operator, LIST))
    for shown in ("insufficient_scope", "198.51.100.9", "mallory", "ann", session.key[:8], "12"):
        assert shown in page
    assert listed(operator) == ["invalid_token", "insufficient_scope", "owner"]
    assert listed(operator, reason="owner") == ["owner"]
    assert listed(operator, q=session.key) == ["owner"]
    assert listed(operator, q=session.owner) == ["insufficient_scope"]
    assert listed(operator, q="203.0.113.") == ["invalid_token"]


def test_nothing_in_it_can_be_changed(operator: Client, session: Session) -> None:
    page = text_of(operator, LIST)
    assert "/change/" not in page and "delete_selected" not in page and f"{LIST}add/" not in page
    assert operator.get(f"{LIST}add/").status_code == 403


@pytest.mark.parametrize("operator", [["end_session"]], indirect=True)
def test_it_is_for_those_who_may_see_sessions(operator: Client, session: Session) -> None:
    assert operator.get(LIST).status_code == 403
    assert operator.get(f"{LIST}export/csv/").status_code == 403
    assert LIST not in text_of(operator, reverse("admin:index"))


def test_a_file_of_them(operator: Client, session: Session) -> None:
    response = operator.get(f"{LIST}export/csv/", {"reason": "owner"})
    assert response["Content-Disposition"] == 'attachment; filename="refusals.csv"'
    (found,) = csv.DictReader(io.StringIO(response.content.decode()))
    assert (found["key"], found["owner"], found["count"]) == (session.key, "mallory", "12")


def test_a_sessions_page_has_those_that_named_it_and_those_of_its_owner(
    operator: Client, session: Session
) -> None:
    response = operator.get(page_of(session))
    assert [each["row"].reason for each in response.context["refusals"]] == ["insufficient_scope", "owner"]
    page = html.unescape(response.content.decode())
    assert "198.51.100.9" in page and "mallory" in page and "203.0.113.5" not in page
    for link in (f"{LIST}?q={session.key}", f"{LIST}?q=user%3A{session.owner.removeprefix('user:')}"):
        assert link in page


def test_a_session_without_an_owner_has_none_of_other_anonymous_requests(operator: Client) -> None:
    refuse("not_authenticated")
    assert "No request for it was refused lately." in text_of(operator, page_of(store()))


def test_the_dashboard_has_them_by_hour_and_reason(operator: Client, session: Session) -> None:
    figures = operator.get(DASHBOARD, {"timeframe": "day"}).json()
    refused = dict(figures["refused"]["reasons"])
    assert {reason: sum(counts) for reason, counts in refused.items()} == {
        "owner": 12,
        "insufficient_scope": 3,
        "invalid_token": 1,
    }
    assert len(figures["refused"]["steps"]) in (24, 25)
    newest = figures["last_refusals"][0]
    assert (newest["reason"], newest["address"], newest["count"]) == ("invalid_token", "203.0.113.5", 1)
    assert [each["owner"] for each in figures["last_refusals"]] == ["", "ann", "mallory"]
    assert figures["last_refusals"][2]["key"] == session.key


def test_the_dashboard_of_a_month_has_them_by_day(operator: Client, session: Session) -> None:
    refusal = Refusal("/mcp", "owner", count=5)
    store_refusals("default", [RefusalCount(refusal, timezone.now() - timedelta(days=3))])
    figures = operator.get(DASHBOARD, {"timeframe": "month"}).json()
    (counts,) = [counts for reason, counts in figures["refused"]["reasons"] if reason == "owner"]
    assert sorted(counts)[-2:] == [5, 12] and len(counts) <= 32
