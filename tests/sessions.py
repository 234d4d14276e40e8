"""Sessions that no client has opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from mcp_sessions.lifecycle import open_session
from mcp_sessions.runtime import adopt, run_sync
from mcp_sessions.state import SessionState

Open = Callable[..., Awaitable[SessionState]]


@pytest.fixture
async def new_session(process: None) -> Open:
    """Open a session on the test's own loop."""
    adopt()

    async def open_one(dialect: str = "specification") -> SessionState:
        _, record = await open_session("/mcp", "", {"dialect": dialect}, "initialize")
        return SessionState(record)

    return open_one


def open_sync(dialect: str = "guide") -> str:
    """A session's key, from synchronous code."""
    _, record = run_sync(open_session("/mcp", "", {"dialect": dialect}, "initialize"))
    return record.key
