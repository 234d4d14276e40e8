"""Whose sessions operators see, how these people have authenticated, and how all of theirs end."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission, User
from django.test import Client

from mcp_sessions.models import Session
from mcp_sessions.principals import user_owner
from mcp_sessions.records import principal_of
from tests.admin.conftest import LIST, METADATA, page_of, store, text_of, told

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann <1>")


def of(user: User | None, **more: Any) -> Session:
    owner = user_owner(user.pk) if user else ""
    return store(owner=owner, principal=principal_of("/mcp", owner, ""), **more)


def may_see_users(client: Client) -> None:
    create_permissions(apps.get_app_config("auth"), verbosity=0)
    user = User.objects.get(username="operator")
    user.user_permissions.add(Permission.objects.get(codename="view_user"))


def test_the_owner_is_the_user_with_a_link(operator: Client, ann: User) -> None:
    session = of(ann)
    link = f'<a href="/admin/auth/user/{ann.pk}/change/" title="user:{ann.pk}">ann &lt;1&gt;</a>'
    for page in (LIST, page_of(session)):
        assert "ann &lt;1&gt;" in text_of(operator, page) and link not in text_of(operator, page)
    may_see_users(operator)
    for page in (LIST, page_of(session)):
        assert link in text_of(operator, page)


@pytest.mark.parametrize("owner", ["user:999", "user:x", "user:", "somebody"])
def test_an_owner_that_is_no_user_is_shown_as_it_is(operator: Client, owner: str) -> None:
    session = store(owner=owner)
    assert owner in text_of(operator, LIST) and owner in text_of(operator, page_of(session))


def test_the_list_asks_for_users_once(operator: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(30):
        of(User.objects.create_user(f"user {number}"))
    with django_assert_max_num_queries(16):
        assert "user 29" in text_of(operator, LIST)


def test_how_the_owner_has_authenticated(operator: Client, ann: User) -> None:
    found = {
        "by": "JSONWebTokens",
        "issuer": "https://login.example",
        "client": "an-app",
        "scopes": ["read", "write"],
    }
    page = text_of(operator, page_of(of(ann, metadata={**METADATA, "authentication": found})))
    assert "JSONWebTokens · issuer https://login.example · client an-app · scopes read write" in page
    assert "Authenticated by" not in text_of(operator, page_of(of(None)))


def test_all_sessions_of_an_owner_end(operator: Client, ann: User) -> None:
    """Also from the page of one that has ended."""
    first, second, other = of(ann), of(ann), of(None)
    url = page_of(first, "end_owned")
    assert url in text_of(operator, page_of(first))
    response = operator.post(url, {"post": "yes", "reason": "left"}, follow=True)
    assert told(response) == ["All sessions of 1 owner were ended."]
    for session in (first, second, other):
        session.refresh_from_db()
    assert [first.end_reason, second.end_reason, other.end_reason] == ["left", "left", ""]
    third = of(ann)
    operator.post(url, {"post": "yes"}, follow=True)
    third.refresh_from_db()
    assert third.end_reason == "operator"
    assert page_of(other, "end_owned") not in text_of(operator, page_of(other))


def test_the_action_ends_those_of_the_selected_ones_owners(operator: Client, ann: User) -> None:
    mine, another, anonymous, other = of(ann), of(ann), of(None), of(None)
    chosen = {"action": "end_owned_sessions", "_selected_action": [mine.pk, anonymous.pk], "post": "yes"}
    operator.post(LIST, chosen, follow=True)
    for session in (mine, another, anonymous, other):
        session.refresh_from_db()
    assert [bool(each.ended_at) for each in (mine, another, anonymous, other)] == [True, True, True, False]


@pytest.mark.parametrize("operator", [("view_session",)], indirect=True)
def test_who_may_only_look_ends_nothing(operator: Client, ann: User) -> None:
    session = of(ann)
    assert operator.post(page_of(session, "end_owned"), {"post": "yes"}).status_code == 403
    session.refresh_from_db()
    assert session.ended_at is None
