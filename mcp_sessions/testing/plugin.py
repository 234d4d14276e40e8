"""Fixtures for pytest. In the project's conftest.py: `pytest_plugins = ["mcp_sessions.testing.plugin"]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from mcp_sessions.apps import leave_databases

Connect = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def mcp_connect(transactional_db: None) -> Iterator[Connect]:
    """`mcp_sessions.testing.connect`, with a database; what the test has started ends with it."""
    from mcp_sessions.testing import connect

    yield connect
    leave_databases()
