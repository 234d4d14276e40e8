"""Whether a process that was stopped where it stood holds up everybody else."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import Final

LOOKS: Final = 5
"""What a process has sent just before it was stopped may reach the database a moment later."""
BETWEEN_SECONDS: Final = 0.05
BUSY_SECONDS: Final = 0.5

UNFINISHED: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = %s AND datname = current_database() AND state <> 'idle'
"""


def holds_none(database_url: str, application_name: str) -> bool:
    """Whether nothing of the stopped process is unfinished in the database, by which its locks are held."""
    if database_url.startswith("sqlite"):
        return _file_is_free(database_url.removeprefix("sqlite:///"))
    if database_url.startswith("postgres"):
        return _all_are_idle(database_url, application_name)
    return True


def _file_is_free(path: str) -> bool:
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
    return True


def _all_are_idle(database_url: str, application_name: str) -> bool:
    import psycopg

    with psycopg.connect(database_url, autocommit=True) as connection:
        for _ in range(LOOKS):
            time.sleep(BETWEEN_SECONDS)
            found = connection.execute(UNFINISHED, [application_name]).fetchone()
            if found is None or found[0]:
                return False
    return True
