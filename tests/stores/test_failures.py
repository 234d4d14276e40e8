"""What each error of a database means."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from django.db import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)

from mcp_sessions.stores.failures import Failure, meaning_of


class DriverError(Exception):
    def __init__(self, *args: Any, **codes: Any) -> None:
        super().__init__(*args)
        vars(self).update(codes)


def raised(kind: type[Error], *args: Any, **codes: Any) -> Error:
    """As Django raises it: from what the driver has raised."""
    error = kind(*args)
    error.__cause__ = DriverError(*args, **codes)
    return error


def in_sqlite(name: str) -> Error:
    return raised(OperationalError, "it fails", sqlite_errorname=name)


MEANINGS: list[tuple[str, Error, Failure | None]] = [
    ("PostgreSQL only reads", raised(InternalError, sqlstate="25006"), Failure.UNAVAILABLE),
    ("PostgreSQL ended an idle transaction", raised(InternalError, sqlstate="25P03"), Failure.UNAVAILABLE),
    ("PostgreSQL ends", raised(OperationalError, sqlstate="57P01"), Failure.UNAVAILABLE),
    (
        "PostgreSQL starts",
        raised(OperationalError, "the database system is starting up"),
        Failure.UNAVAILABLE,
    ),
    ("PostgreSQL has no connection left", raised(OperationalError, sqlstate="53300"), Failure.UNAVAILABLE),
    ("PostgreSQL has no room on its disk", raised(OperationalError, sqlstate="53100"), Failure.UNAVAILABLE),
    ("PostgreSQL's row is locked", raised(OperationalError, sqlstate="55P03"), Failure.BUSY),
    ("PostgreSQL's deadlock, psycopg2", raised(OperationalError, pgcode="40P01"), Failure.CONFLICT),
    ("PostgreSQL's limit", raised(OperationalError, sqlstate="54000"), Failure.REFUSED),
    ("PostgreSQL takes no NUL", raised(DataError, "cannot contain NUL"), Failure.REFUSED),
    ("MariaDB only reads", raised(OperationalError, 1290, "--read-only"), Failure.UNAVAILABLE),
    ("MariaDB is in read-only mode", raised(OperationalError, 1836, "read-only"), Failure.UNAVAILABLE),
    ("MariaDB has gone away", raised(OperationalError, 2006, "gone away"), Failure.UNAVAILABLE),
    ("MariaDB has no connection left", raised(OperationalError, 1040, "too many"), Failure.UNAVAILABLE),
    (
        "MariaDB's row is locked",
        raised(OperationalError, 1205, "lock wait timeout", sqlstate="HY000"),
        Failure.BUSY,
    ),
    ("MariaDB's deadlock", raised(OperationalError, 1213, "deadlock"), Failure.CONFLICT),
    ("MariaDB's packet", raised(OperationalError, 1153, "bigger than"), Failure.REFUSED),
    ("MariaDB's column", raised(DataError, 1406, "too long"), Failure.REFUSED),
    ("SQLite is locked", in_sqlite("SQLITE_BUSY"), Failure.BUSY),
    ("SQLite's snapshot is old", in_sqlite("SQLITE_BUSY_SNAPSHOT"), Failure.BUSY),
    ("SQLite only reads", in_sqlite("SQLITE_READONLY_DBMOVED"), Failure.UNAVAILABLE),
    ("SQLite's disk is full", in_sqlite("SQLITE_FULL"), Failure.UNAVAILABLE),
    ("SQLite's file is not there", in_sqlite("SQLITE_CANTOPEN"), Failure.UNAVAILABLE),
    (
        "a connection that was closed",
        raised(InterfaceError, "connection already closed"),
        Failure.UNAVAILABLE,
    ),
    ("an error without a cause", OperationalError("lost"), Failure.UNAVAILABLE),
    ("a constraint", raised(IntegrityError, sqlstate="23505"), None),
    ("a table that is not there", raised(ProgrammingError, sqlstate="42P01"), Failure.UNMIGRATED),
    ("a column that is not there", raised(ProgrammingError, sqlstate="42703"), Failure.UNMIGRATED),
    ("MariaDB has no such table", raised(ProgrammingError, 1146, "Table doesn't exist"), Failure.UNMIGRATED),
    ("PyMySQL has a state too", raised(OperationalError, 1205, "waited", sqlstate="HY000"), Failure.BUSY),
    ("MariaDB has no such column", raised(OperationalError, 1054, "Unknown column"), Failure.UNMIGRATED),
    ("SQLite has no such table", OperationalError("no such table: a"), Failure.UNMIGRATED),
    ("SQLite has no such column", OperationalError("no such column: a.b"), Failure.UNMIGRATED),
    ("SQLite cannot insert it", OperationalError("table a has no column named b"), Failure.UNMIGRATED),
    ("a mistake in a statement", raised(ProgrammingError, sqlstate="42601"), None),
    ("something else", DatabaseError("it is malformed"), None),
]


@pytest.mark.parametrize(("error", "failure"), [pytest.param(*rest, id=name) for name, *rest in MEANINGS])
def test_what_an_error_means(error: Error, failure: Failure | None) -> None:
    assert meaning_of(error) is failure


def test_sqlite_names_its_errors() -> None:
    with pytest.raises(sqlite3.OperationalError) as found:
        sqlite3.connect("/nowhere/at/all")
    assert found.value.sqlite_errorname == "SQLITE_CANTOPEN"
