"""Principals whose names differ in nothing but case are two, in every database."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import pytest

from mcp_sessions import aend_sessions_of
from mcp_sessions.models import Session
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication.static import ISSUER
from tests.doors.client import McpClient
from tests.doors.doors import Door
from tests.doors.test_bad_input import alias, every_database
from tests.doors.test_handles import said, use
from tests.process import in_thread

__all__ = ["alias"]

NAMES: Final = ("Ann", "ann")
TOKENS: Final = {name: f"{name}-token-0123456789" for name in NAMES}
PATH: Final = "/own-baskets"


@pytest.fixture(autouse=True)
def endpoint(settings: Any, alias: str) -> None:
    digests = {name: sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
    tokens = {
        "BACKEND": "mcp_sessions.security.authentication.StaticTokens",
        "OPTIONS": {"tokens": digests},
    }
    entry = {"SERVER": "tests.baskets:server", "AUTHENTICATORS": [tokens]}
    limits = {
        "RATE_LIMITS": {"principal": "9/h"},
        "MAX_SESSIONS_PER_CLIENT": 2,
        "SESSION_REPLACEMENT_POLICY": "reject",
    }
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **limits, "SERVERS": {PATH: entry}}


@every_database
async def test_they_share_nothing(alias: str, door: Door) -> None:
    one, other = [await McpClient(door, PATH, more_headers=authorized(name)).open() for name in NAMES]
    one.session_id, other.session_id = other.session_id, one.session_id
    assert [await client.status() for client in (one, other)] == [404, 404]
    one.session_id, other.session_id = other.session_id, one.session_id
    for name in NAMES:
        # Each has a session of its own, and reaches its own limit by it.
        assert said(await use(door, PATH, "own", TOKENS[name], sku=name)) == name
        assert (await use(door, PATH, "open_session", TOKENS[name]))["isError"]
    assert 429 in [await one.status() for _ in range(10)]
    assert await other.status() == 200
    assert await aend_sessions_of(Principal(ISSUER, "Ann").owner) == 2
    assert await other.status() == 200
    live = await in_thread(
        lambda: set(Session.objects.using(alias).unended().values_list("owner", flat=True))
    )
    assert live == {Principal(ISSUER, "ann").owner}


def authorized(name: str) -> dict[str, str | None]:
    return {"Authorization": f"Bearer {TOKENS[name]}"}
