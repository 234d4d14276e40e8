"""What SQLite, PostgreSQL and MariaDB write differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

# PostgreSQL: DATE_PART counts in floating point, which is three times as fast as EXTRACT's decimals, and
# exact: to the microsecond for durations of 71 years, to the second for instants of the next two centuries.
# SQLite: as Django stores it, "2026-11-22 12:00:00.123456", the fraction only where there is one. It
# would be rounded to milliseconds, perhaps into the next second.
_SECONDS: Final = {
    "postgresql": "FLOOR(DATE_PART('epoch', {at}))::bigint",
    "sqlite": "CAST(strftime('%%s', substr({at}, 1, 19)) AS INTEGER)",
    "mysql": "TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', {at})",
}
_MICROSECONDS: Final = {
    "postgresql": "(DATE_PART('epoch', {end} - {start}) * 1000000)::bigint",
    "sqlite": (
        "((CAST(strftime('%%s', substr({end}, 1, 19)) AS INTEGER)"
        " - CAST(strftime('%%s', substr({start}, 1, 19)) AS INTEGER)) * 1000000"
        " + CAST(substr({end}, 21) AS INTEGER) - CAST(substr({start}, 21) AS INTEGER))"
    ),
    "mysql": "TIMESTAMPDIFF(MICROSECOND, {start}, {end})",
}
_JSON_TEXT: Final = {
    "postgresql": "metadata #>> '{{{path}}}'",
    "sqlite": "json_extract(metadata, '$.{path}')",
    "mysql": "JSON_VALUE(metadata, '$.{path}')",
}
NAME_LENGTH: Final = 100
"""Characters of what a client says about itself that are counted by."""


def seconds(connection: BaseDatabaseWrapper, at: str) -> str:
    """An instant as whole seconds."""
    return _SECONDS[connection.vendor].format(at=at)


def microseconds(connection: BaseDatabaseWrapper, start: str, end: str) -> str:
    """From one instant to another, exactly."""
    return _MICROSECONDS[connection.vendor].format(start=start, end=end)


def said(connection: BaseDatabaseWrapper, *path: str) -> str:
    """Text in a session's metadata; "" if there is none."""
    separator = "," if connection.vendor == "postgresql" else "."
    text = _JSON_TEXT[connection.vendor].format(path=separator.join(path))
    return f"COALESCE(SUBSTR({text}, 1, {NAME_LENGTH}), '')"


def fetch(connection: BaseDatabaseWrapper, statement: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall())
