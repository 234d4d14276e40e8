"""Operators, and sessions for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from mcp_sessions.models import Session
from mcp_sessions.stores import get_store
from tests.records import new_session

LIST: Final = reverse("admin:mcp_sessions_session_changelist")
EVERYTHING: Final = ("view_session", "end_session", "view_session_payload")
METADATA: Final = {
    "client": {"name": "Inspector", "version": "1.2"},
    "protocol_version": "2025-11-25",
    "address": "192.0.2.7",
}


@pytest.fixture(autouse=True)
def _process(process: None) -> Iterator[None]:
    """The runtime of each test is its own."""
    yield


@pytest.fixture
def operator(client: Client, permissions: None, request: pytest.FixtureRequest) -> Client:
    """Somebody with the permissions named, or with all of them."""
    user = User.objects.create_user("operator", is_staff=True)
    names = getattr(request, "param", EVERYTHING)
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
    return client


def store(**changes: Any) -> Session:
    record = new_session(**{"metadata": METADATA, **changes})
    get_store().create(record)
    return Session.objects.get(key=record.key)


def page_of(session: Session, name: str = "change") -> str:
    return reverse(f"admin:mcp_sessions_session_{name}", args=[session.pk])


def text_of(client: Client, url: str, data: dict[str, Any] | None = None) -> str:
    response = client.get(url, data)
    assert response.status_code == 200, response
    return response.content.decode()


def listed(client: Client, **query: Any) -> list[str]:
    """The keys of the sessions in the list, in its order."""
    response = client.get(LIST, query)
    assert response.status_code == 200, response
    return [session.key for session in response.context["cl"].result_list]


def told(response: Any) -> list[str]:
    """The messages that the operator sees next."""
    return [str(message) for message in response.context["messages"]]
