"""Fresh databases for server processes: migrated once, copied for each server."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from tests.harness.server import manage


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


# In one process: starting another takes longer than either command.
PREPARE: Final = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("load_tickets")
"""


def prepare(database_url: str, commands: str = PREPARE) -> None:
    """Migrate and load the example's tickets, or what `commands` do instead."""
    manage("shell", "--verbosity", "0", "--command", commands, env={"DATABASE_URL": database_url})


class SQLiteTemplate:
    """One prepared file, and copies of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.template = folder / "template.sqlite3"
        prepare(sqlite_url(self.template))

    def copy(self) -> str:
        """The URL of a new copy. SQLite's own backup also takes what still stands in the write-ahead log."""
        path = self.folder / f"{uuid4().hex}.sqlite3"
        with (
            contextlib.closing(sqlite3.connect(self.template)) as source,
            contextlib.closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)
        return sqlite_url(path)


@contextlib.contextmanager
def postgres_database(server_url: str, commands: str = PREPARE) -> Iterator[str]:
    """A prepared database of its own on the PostgreSQL server of that URL, dropped at the end."""
    import psycopg

    name = f"mcp_sessions_e2e_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
            prepare(url, commands)
            yield url
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class PostgresTemplate:
    """One prepared database on the PostgreSQL server, and copies of it; dropped at the end."""

    def __init__(self, server_url: str, stack: contextlib.ExitStack) -> None:
        self.server_url = server_url
        self.stack = stack
        self._free: list[str] = []

    @contextlib.contextmanager
    def lent(self) -> Iterator[str]:
        """A copy without sessions, for a while: to drop a database takes a second or more."""
        url = self._free.pop() if self._free else self.copy()
        yield url
        self._empty(url)
        self._free.append(url)

    @cached_property
    def template(self) -> str:
        return self.stack.enter_context(postgres_database(self.server_url))

    def copy(self) -> str:
        source, name = urlsplit(self.template).path.strip("/"), f"mcp_sessions_e2e_{uuid4().hex[:12]}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        self.stack.callback(self._execute, f'DROP DATABASE "{name}" WITH (FORCE)')
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))

    def _empty(self, url: str) -> None:
        import psycopg

        with psycopg.connect(url) as connection:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}")
            # Constraints need not be checked: all of the app's rows go.
            connection.execute("SET LOCAL session_replication_role = replica")
            tables = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'mcp_sessions_%'"
            for (table,) in connection.execute(tables).fetchall():
                connection.execute(f'DELETE FROM "{table}"')

    def _execute(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(sql)


@contextlib.contextmanager
def mariadb_database(server_url: str) -> Iterator[str]:
    """A prepared database of its own on the MariaDB server of that URL, dropped at the end."""
    import pymysql

    parts, name = urlsplit(server_url), f"mcp_sessions_e2e_{uuid4().hex[:12]}"
    given = {"user": parts.username or "root", "password": parts.password or ""}
    with pymysql.connect(host=parts.hostname, port=parts.port or 3306, **given) as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        try:
            url = urlunsplit(parts._replace(path=f"/{name}", query="charset=utf8mb4"))
            prepare(url)
            yield url
        finally:
            cursor.execute(f"DROP DATABASE `{name}`")
