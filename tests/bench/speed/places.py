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
FROM generate_series((SELECT COUNT(*) FROM mcp_sessions_session) + 1, %s) n
"""
"""Live sessions of others, of whom nobody calls while it is measured."""


EVENTS_OF_OTHERS: Final = """
WITH opened AS (
    INSERT INTO mcp_sessions_stream (name, session_id, kind, position, delivered, created_at, reader)
    SELECT md5('stream' || id), id, 'post', %(events)s, %(events)s, now(), ''
    FROM mcp_sessions_session LIMIT %(streams)s RETURNING id
)
INSERT INTO mcp_sessions_streamevent (stream_id, position, name, data, created_at)
SELECT id, position, '', '{"jsonrpc": "2.0", "method": "notifications/message"}', now()
FROM opened, generate_series(1, %(events)s) position
"""
EVENTS_OF_EACH: Final = 100


class Places:
    """What a row asks for; given back when the stack is left."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def postgres(self) -> str:
        return self._stack.enter_context(postgres_database(POSTGRES))

    def filled(self, sessions: int, events: int = 0) -> str:
        """A database in which there are so many sessions, and so many events of theirs."""
        url = self.postgres()
        fill(url, sessions)
        if events:
            counts = {"events": EVENTS_OF_EACH, "streams": events // EVENTS_OF_EACH}
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(EVENTS_OF_OTHERS, counts)
                connection.execute("VACUUM ANALYZE mcp_sessions_stream, mcp_sessions_streamevent")
        return url

    def sqlite(self) -> str:
        return self._template.copy()

    def redis(self) -> str:
        return REDIS

    @cached_property
    def _template(self) -> SQLiteTemplate:
        return SQLiteTemplate(Path(self._stack.enter_context(tempfile.TemporaryDirectory())))


def fill(url: str, sessions: int) -> None:
    """Have so many sessions in the database, with those that are there."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(OTHERS, [sessions])
        connection.execute("VACUUM ANALYZE mcp_sessions_session")
