"""Fresh databases for server processes: migrated once, copied for each server."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
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


def prepare(database_url: str) -> None:
    """Migrate and load the example's tickets."""
    manage("shell", "--verbosity", "0", "--command", PREPARE, env={"DATABASE_URL": database_url})


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
def postgres_database(server_url: str) -> Iterator[str]:
    """A prepared database of its own on the PostgreSQL server of that URL, dropped at the end."""
    import psycopg

    name = f"mcp_sessions_e2e_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
            prepare(url)
            yield url
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
