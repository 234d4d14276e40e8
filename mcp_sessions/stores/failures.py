"""What an error of the database means for whoever asked: wait, come again, or give it up."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from django.db import DataError, Error, InterfaceError, InternalError, OperationalError

UNSERVED: Final = (OperationalError, InterfaceError, InternalError)
"""What a database raises that cannot serve. One that takes no writes (a failover) raises the last."""


class Failure(Enum):
    """What is not among these is a fault of the program, or a constraint that does its work."""

    CONFLICT = "the transaction was rolled back so that another could go on"
    BUSY = "somebody else has locked what is wanted"
    AWAY = "the database cannot be reached, or takes nothing now"
    REFUSED = "the database will never take these values"


MEANINGS: Final = {
    # PostgreSQL's codes. Both conflicts look alike for rows that changed under a strict isolation level.
    "40P01": Failure.CONFLICT,
    "40001": Failure.CONFLICT,
    "55P03": Failure.BUSY,
    # Of MariaDB and MySQL: what is refused is too long, too large or no text.
    "1213": Failure.CONFLICT,
    "1020": Failure.CONFLICT,
    "1205": Failure.BUSY,
    "3572": Failure.BUSY,
    "1118": Failure.REFUSED,
    "1153": Failure.REFUSED,
    "1301": Failure.REFUSED,
    "1366": Failure.REFUSED,
    # The database is locked, by another connection or by another one of this process.
    "SQLITE_BUSY": Failure.BUSY,
    "SQLITE_LOCKED": Failure.BUSY,
}
LIMITS: Final = "54"
"""PostgreSQL's class of codes for what is longer, deeper or more than it ever takes."""


def meaning_of(error: Error) -> Failure | None:
    """None for what no waiting mends."""
    if isinstance(error, DataError):
        return Failure.REFUSED
    if not isinstance(error, UNSERVED):
        return None
    code = _code_of(error.__cause__)
    if len(code) == len("54000") and code.startswith(LIMITS):
        return Failure.REFUSED
    return MEANINGS.get(code, Failure.AWAY)


def _code_of(cause: Any) -> str:
    """As the driver has it. Who could not even connect often has none."""
    if (name := getattr(cause, "sqlite_errorname", None)) is not None:
        # What comes after the second word says which kind of it.
        return "_".join(name.split("_")[:2])
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return str(state or next(iter(getattr(cause, "args", ())), ""))
