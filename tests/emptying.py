"""Tables are emptied after each test that commits: by DELETE, in one transaction, whatever the database.

Django truncates them on PostgreSQL, which makes a new file for each table and index: that takes
longer than most tests. Sequences go on, as they do with Django.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from django.core.management.color import no_style
from django.db import OperationalError, connections
from django.test import TransactionTestCase

ATTEMPTS: Final = 3
"""What a test has left behind may still write, and lock the tables in another order."""

# The lock waits for transactions that a test has left open, as a TRUNCATE would: what they store is
# not to be there for the next test. Nobody else can add a row, so no constraint need be checked.
POSTGRES: Final = """
SET LOCAL lock_timeout = '60s';
SET LOCAL session_replication_role = replica;
LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE;
{deletes}
"""


def empty_databases(case: TransactionTestCase) -> None:
    """In the place of TransactionTestCase's own way."""
    for alias in case._databases_names(include_mirrors=False):
        empty(alias)


def empty(alias: str, attempts: int = ATTEMPTS) -> None:
    """Delete all rows of one database."""
    try:
        connections[alias].ops.execute_sql_flush(_statements(alias))
    except OperationalError:
        connections[alias].close()
        if attempts == 1:
            raise
        empty(alias, attempts - 1)


@cache
def _statements(alias: str) -> list[str]:
    connection = connections[alias]
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    if connection.vendor != "postgresql":
        return connection.ops.sql_flush(no_style(), tables)
    names = [connection.ops.quote_name(name) for name in tables]
    deletes = "\n".join(f"DELETE FROM {name};" for name in names)
    return [POSTGRES.format(tables=", ".join(names), deletes=deletes)]
