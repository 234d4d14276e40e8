"""A target in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from mcp_sessions import runtime
from tests.fuzz import settings as fuzzed
from tests.fuzz.target import Target
from tests.process import close_store


@pytest.fixture
def target(settings: Any, transactional_db: None) -> Iterator[Target]:
    settings.MCP_SESSIONS = fuzzed.MCP_SESSIONS
    if (left := runtime.peek()) is not None:
        runtime.forget(left)
    with mock.patch("mcp_sessions.routing.gc"):
        made = Target()
        yield made
        made.close()
    close_store()
