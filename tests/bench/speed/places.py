"""Databases for the sides: each its own, all of them gone in the end."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Final

import psycopg

from tests.harness.databases import SQLiteTemplate, postgres_database
from tests.harness.services import POSTGRES, REDIS

OTHERS: Final = """
INSERT INTO mcp_sessions_session (key, digest, server, owner, created_at, last_accessed_at, expires_at,
    timeout_at, end_reason, metadata, data, lease_token)
SELECT md5('key' || n), md5('a' || n) || md5('b' || n), '/mcp', '', now(), now(), now() + interval '1 day',
    now() + interval '1 day', '', '{"dialect": "specification", "initialized": true}', '{}', ''
FROM generate_series(1, %s) n
"""
"""Live sessions of others, of whom nobody calls while it is measured."""


class Places:
    """What a row asks for; given back when the stack is left."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def postgres(self) -> str:
        return self._stack.enter_context(postgres_database(POSTGRES))

    def filled(self, sessions: int) -> str:
        """A database in which there are so many sessions."""
        url = self.postgres()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(OTHERS, [sessions])
            connection.execute("VACUUM ANALYZE mcp_sessions_session")
        return url

    def sqlite(self) -> str:
        return self._template.copy()

    def redis(self) -> str:
        return REDIS

    @cached_property
    def _template(self) -> SQLiteTemplate:
        return SQLiteTemplate(Path(self._stack.enter_context(tempfile.TemporaryDirectory())))
