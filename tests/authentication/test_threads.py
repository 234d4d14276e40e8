"""The threads in which authenticators read the database."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mcp_sessions.exceptions import AuthenticationUnavailable
from mcp_sessions.security.authentication.threads import in_database


async def test_a_database_that_does_not_answer_is_unavailable(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "STORE_TIMEOUT": 0.01}
    answered = threading.Event()
    try:
        with pytest.raises(AuthenticationUnavailable):
            await in_database(answered.wait)
    finally:
        answered.set()
