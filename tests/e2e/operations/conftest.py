"""A database with sessions that nobody has opened, for who looks after them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.hearing import FILE, Heard
from tests.harness.databases import PostgresTemplate

RABBITMQ: Final = os.environ.get("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672")
EXPIRE: Final = """
INSERT INTO mcp_sessions_session
  (key, digest, server, owner, created_at, last_accessed_at, expires_at, timeout_at,
   end_reason, metadata, data, lease_token)
SELECT 'over-' || n, md5(n::text), '/mcp', '', now() - interval '1 hour', now() - interval '1 hour',
  now() - n * interval '1 second', now() - n * interval '1 second', '', '{}', '{}', ''
FROM generate_series(1, %s) n
"""


class Operated:
    """A database, and what the processes of its project have told."""

    def __init__(self, url: str, folder: Path) -> None:
        import psycopg

        self.url = url
        self.folder = folder
        self.signals = folder / "signals"
        self.env = {"DATABASE_URL": url, FILE: str(self.signals)}
        self._connection = psycopg.connect(url, autocommit=True)

    def execute(self, sql: Any, *params: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql, params)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self._connection.close()

    def told(self) -> list[Heard]:
        """Every signal that was sent."""
        lines = self.signals.read_text().splitlines() if self.signals.exists() else []
        return [Heard(**json.loads(line)) for line in lines]

    def run_out(self, count: int) -> None:
        """So many sessions whose time has run out, which nobody has ended."""
        self.execute(EXPIRE, count)

    def number(self, where: str = "true") -> int:
        [(number,)] = self.execute(f"SELECT count(*) FROM mcp_sessions_session WHERE {where}")
        return int(number)


@pytest.fixture
def operated(postgres_template: PostgresTemplate, tmp_path: Path) -> Iterator[Operated]:
    found = Operated(postgres_template.copy(), tmp_path)
    yield found
    found.close()
