"""The admin: live sessions are listed, read and ended; nothing else is possible."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mcp_sessions.models import Session
from mcp_sessions.stores import get_store
from tests.records import new_session

pytestmark = pytest.mark.django_db(transaction=True)

LIST = reverse("admin:mcp_sessions_session_changelist")


def store(**changes: Any) -> Session:
    record = new_session(**changes)
    get_store().create(record)
    return Session.objects.get(key=record.key)


@pytest.fixture
def live() -> Session:
    client = {"name": "inspector", "version": "1.2"}
    metadata = {"client": client, "protocol_version": "2025-11-25", "address": "192.0.2.7", "requests": 5}
    return store(metadata=metadata, data={"worklist": [1, 2]})


@pytest.fixture
def expired() -> Session:
    return store(expires_at=timezone.now() - timedelta(seconds=1))


@pytest.fixture
def operator(client: Client, permissions: None, request: pytest.FixtureRequest) -> Client:
    """Somebody with the permissions named."""
    user = User.objects.create_user("operator", is_staff=True)
    names = getattr(request, "param", ["view_session"])
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
    return client


def test_it_lists_the_live_sessions(operator: Client, live: Session, expired: Session) -> None:
    page = operator.get(LIST).content.decode()
    assert live.key[:10] in page
    assert "inspector 1.2" in page
    assert "192.0.2.7" in page
    assert expired.key[:10] not in page


@pytest.mark.parametrize("state", ["expired", "all"])
def test_it_lists_the_others_when_asked(
    operator: Client, live: Session, expired: Session, state: str
) -> None:
    page = operator.get(LIST, {"state": state}).content.decode()
    assert expired.key[:10] in page
    assert (live.key[:10] in page) is (state == "all")


def test_it_finds_a_session_by_its_key(operator: Client, live: Session) -> None:
    other = store()
    page = operator.get(LIST, {"q": live.key}).content.decode()
    assert live.key[:10] in page
    assert other.key[:10] not in page


def test_a_page_shows_one_session(operator: Client, live: Session) -> None:
    page = operator.get(reverse("admin:mcp_sessions_session_change", args=[live.pk])).content.decode()
    assert live.key in page
    assert "&quot;worklist&quot;: [" in page
    assert live.digest not in page


def test_nothing_can_be_added_changed_or_deleted(admin_client: Client, live: Session) -> None:
    change = reverse("admin:mcp_sessions_session_change", args=[live.pk])
    delete = reverse("admin:mcp_sessions_session_delete", args=[live.pk])
    assert admin_client.get(reverse("admin:mcp_sessions_session_add")).status_code == 403
    assert admin_client.post(change, {"owner": "somebody"}).status_code == 403
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    assert Session.objects.get(pk=live.pk).owner == live.owner


def end(client: Client, session: Session) -> Any:
    chosen = {"action": "end_sessions", "_selected_action": [session.pk]}
    return client.post(LIST, chosen, follow=True)


@pytest.mark.parametrize("operator", [["view_session", "change_session"]], indirect=True)
def test_the_action_ends_sessions(operator: Client, live: Session) -> None:
    assert "1 session was ended." in end(operator, live).content.decode()
    live.refresh_from_db()
    assert live.ended_at is not None
    assert live.end_reason == "operator"


def test_the_action_needs_the_permission(operator: Client, live: Session) -> None:
    end(operator, live)
    live.refresh_from_db()
    assert live.ended_at is None


@pytest.fixture(autouse=True)
def _process(process: None) -> Iterator[None]:
    """The runtime of each test is its own."""
    yield
