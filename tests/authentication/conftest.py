"""An authenticator, and the requests that it is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mcp_sessions.exchange import Exchange
from tests.harness.issuer import Issuer, running

RESOURCE = "https://api.example/shop"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running() as own:
        yield own


@pytest.fixture(autouse=True)
def public_url(settings: Any) -> None:
    """The endpoint's canonical URI is RESOURCE."""
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "RESOURCE_URL": RESOURCE}


def exchange(token: str | None, **options: Any) -> Exchange:
    headers = (
        {"host": "testserver"}
        if token is None
        else {"authorization": f"Bearer {token}", "host": "testserver"}
    )
    return Exchange("POST", "/mcp", "/mcp", headers, **options)
