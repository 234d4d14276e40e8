"""The databases that the stores are tried on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.conf import settings

pytest.register_assert_rewrite("tests.stores.contract")

from mcp_sessions.stores.database import DatabaseSessionStore  # noqa: E402


@pytest.fixture
def store(alias: str) -> Iterator[DatabaseSessionStore]:
    """A store in the class's database; skipped where no server runs, but never in CI."""
    if alias not in settings.DATABASES:
        reason = f"no server answers for the database {alias!r}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    store = DatabaseSessionStore(alias)
    yield store
    store.close()
