"""What an error of the database means for a store's method: wait, try again, or refuse."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final

from django.db import DataError, Error, InterfaceError, InternalError, OperationalError

from mcp_sessions.exceptions import StoreNotMigrated

UNSERVED: Final = (OperationalError, InterfaceError, InternalError)
"""Errors of a database that cannot serve. One that takes no writes (a failover) raises the last."""


class Failure(Enum):
    """Any other error is a fault of the program, or a constraint that does its work."""

    CONFLICT = "the transaction was rolled back so that another could go on"
    BUSY = "somebody else has locked what is wanted"
    UNAVAILABLE = "the database cannot be reached, or takes nothing now"
    REFUSED = "the database will never take these values"
    UNMIGRATED = "the database lacks a table or a column"


MEANINGS: Final = {
    # PostgreSQL's codes. Both conflicts look alike for rows that changed under a strict isolation level.
    "40P01": Failure.CONFLICT,
    "40001": Failure.CONFLICT,
    "55P03": Failure.BUSY,
    "42P01": Failure.UNMIGRATED,
    "42703": Failure.UNMIGRATED,
    # Of MariaDB and MySQL: what is refused is too long, too large or no text.
    "1213": Failure.CONFLICT,
    "1020": Failure.CONFLICT,
    "1205": Failure.BUSY,
    "3572": Failure.BUSY,
    "1118": Failure.REFUSED,
    "1153": Failure.REFUSED,
    "1301": Failure.REFUSED,
    "1366": Failure.REFUSED,
    "1146": Failure.UNMIGRATED,
    "1054": Failure.UNMIGRATED,
    # The database is locked, by another connection or by another one of this process.
    "SQLITE_BUSY": Failure.BUSY,
    "SQLITE_LOCKED": Failure.BUSY,
}
LACKING: Final = re.compile("no such (table|column)|has no column named")
"""The texts of SQLite's errors, which has one code for many of them."""
OUTDATED: Final = "0A000"
"""PostgreSQL's, for a statement that was prepared before a migration. Another connection prepares it anew."""
LIMITS: Final = "54"
"""PostgreSQL's class of codes for what is longer, deeper or more than it ever takes."""


def meaning_of(error: Error) -> Failure | None:
    """None for an error that neither waiting nor a second attempt mends."""
    if isinstance(error, DataError):
        return Failure.REFUSED
    code = _code_of(error.__cause__)
    if MEANINGS.get(code) is Failure.UNMIGRATED or LACKING.search(str(error)):
        return Failure.UNMIGRATED
    if code == OUTDATED:
        return Failure.UNAVAILABLE
    if not isinstance(error, UNSERVED):
        return None
    if len(code) == len("54000") and code.startswith(LIMITS):
        return Failure.REFUSED
    return MEANINGS.get(code, Failure.UNAVAILABLE)


def not_migrated(error: Error) -> StoreNotMigrated:
    """PostgreSQL adds the statement, line by line."""
    what, *_ = str(error).splitlines()
    return StoreNotMigrated(f"The database lacks what migrations make, run manage.py migrate: {what}")


def _code_of(cause: Any) -> str:
    """The driver's code of the error. Where no connection was made there often is none."""
    if (name := getattr(cause, "sqlite_errorname", None)) is not None:
        # What comes after the second word says which kind of it.
        return "_".join(name.split("_")[:2])
    first = next(iter(getattr(cause, "args", ())), "")
    # MariaDB's numbers say more than its state, which PyMySQL has besides.
    if isinstance(first, int):
        return str(first)
    return str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or first)
