"""What a test needs and this machine may not have."""

from __future__ import annotations

import os
from typing import Final, NoReturn
from urllib.parse import urlsplit

import pytest

from tests.harness.ports import is_open

POSTGRES: Final = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
MARIADB: Final = os.environ.get("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306")
REDIS: Final = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")


def unavailable(reason: str) -> NoReturn:
    """Skip the test with the reason; in CI, where everything has to be there, fail."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(reason)
    pytest.skip(reason)


def needed(url: str, name: str) -> None:
    """Skip the test where nothing answers at this URL."""
    parts = urlsplit(url)
    if not is_open(parts.port or 0, parts.hostname or "127.0.0.1"):
        unavailable(f"No {name} answers at {parts.hostname}:{parts.port}.")
