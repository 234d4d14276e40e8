"""What the Django view does about Django's own ways; tests/doors has what it shares with the mount."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.test.utils import override_settings

pytestmark = pytest.mark.django_db(transaction=True)

INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
PARAMS = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}


def test_it_works_in_a_project_with_atomic_requests(process: None, client: Client, monkeypatch: Any) -> None:
    """Django refuses asynchronous views there, unless they say that they need no transaction."""
    from django.db import connections

    for alias in connections:
        monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)
    response = client.post("/mcp", {**INITIALIZE, "params": PARAMS}, content_type="application/json")
    assert response.status_code == 200, response.content
    assert response.headers["Mcp-Session-Id"]


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100)
def test_its_limit_is_the_endpoints_and_not_djangos(process: None, client: Client) -> None:
    params = {**PARAMS, "clientInfo": {"name": "c" * 500, "version": "1"}}
    response = client.post("/mcp", {**INITIALIZE, "params": params}, content_type="application/json")
    assert response.status_code == 200, response.content
