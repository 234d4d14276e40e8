"""Statements as text, on the paths that every client takes.

There, having the ORM build a statement costs more than the database's work on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from mcp_sessions.identifiers import new_token
from mcp_sessions.models import Notification, Stream

CHUNK: Final = 300
"""Rows named in one statement. SQLite before 3.32 takes 999 parameters."""

Params = Sequence[Any]
T = TypeVar("T")

CLOCKS: Final = {"postgresql": "statement_timestamp()", "mysql": "UTC_TIMESTAMP(6)"}
"""The servers' time. On MariaDB not that of its zone, which changes when summer begins."""


def table(model: type[Any]) -> str:
    """The model's table, to be put into SQL: the name is ours and needs no quoting."""
    return str(model._meta.db_table)


def marks(items: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(items))


def fetch(connection: BaseDatabaseWrapper, statement: str, params: Params) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall())


def change(connection: BaseDatabaseWrapper, statement: str, params: Params) -> int:
    """How many rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return int(cursor.rowcount)


def insert(connection: BaseDatabaseWrapper, model: type[Any], values: Mapping[str, Any]) -> None:
    columns = ", ".join(map(connection.ops.quote_name, values))
    statement = f"INSERT INTO {table(model)} ({columns}) VALUES ({marks(list(values))})"
    change(connection, statement, list(values.values()))


def insert_all(connection: BaseDatabaseWrapper, model: type[Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of the same columns, by one statement that is prepared once."""
    if rows:
        columns = ", ".join(map(connection.ops.quote_name, rows[0]))
        statement = f"INSERT INTO {table(model)} ({columns}) VALUES ({marks(list(rows[0]))})"
        with connection.cursor() as cursor:
            cursor.executemany(statement, [list(row.values()) for row in rows])


def update_all(
    connection: BaseDatabaseWrapper, model: type[Any], rows: Mapping[int, Mapping[str, Any]]
) -> None:
    """Rows by their ids, all with the same columns."""
    if rows:
        columns = ", ".join(f"{connection.ops.quote_name(name)} = %s" for name in next(iter(rows.values())))
        with connection.cursor() as cursor:
            values = [[*row.values(), id] for id, row in rows.items()]
            cursor.executemany(f"UPDATE {table(model)} SET {columns} WHERE id = %s", values)


def array(items: Iterable[str]) -> str:
    """Items, one at least, as PostgreSQL writes an array.

    The driver's own way costs more than the rest of an append.
    """
    quoted = (item.replace("\\", r"\\").replace('"', r"\"") for item in items)
    return '{"' + '","'.join(quoted) + '"}'


def update_from(
    connection: BaseDatabaseWrapper, model: type[Any], rows: Mapping[int, Mapping[str, Any]]
) -> None:
    """Set columns of rows, by their ids, from arrays: on PostgreSQL.

    The driver looks for parameters in the text of a statement, so one with thousands of them costs more in
    the process than in the database. All rows have the same columns.
    """
    (first, *_) = rows.values()
    types = {field.column: field.db_type(connection) for field in model._meta.concrete_fields}
    arrays = ", ".join(["%s::bigint[]", *(f"%s::{types[column]}[]" for column in first)])
    columns = ", ".join(f"{column} = n.{column}" for column in first)
    values = [array(str(row[column]) for row in rows.values()) for column in first]
    change(
        connection,
        f"UPDATE {table(model)} SET {columns} FROM unnest({arrays}) AS n(id, {', '.join(first)})"
        f" WHERE {table(model)}.id = n.id",
        [array(map(str, rows)), *values],
    )


def now_of(connection: BaseDatabaseWrapper) -> datetime:
    """The time by the clock that all workers share. A database in a file has that of its only machine."""
    if (asks := CLOCKS.get(connection.vendor)) is None:
        return timezone.now()
    ((found,),) = fetch(connection, f"SELECT {asks}", [])
    return found if found.tzinfo else found.replace(tzinfo=UTC)  # type: ignore[no-any-return]


def set_numbers(connection: BaseDatabaseWrapper, column: str, numbers: Mapping[int, int]) -> None:
    """Set a column of streams to the number of each id."""
    if numbers and connection.vendor == "postgresql":
        update_from(connection, Stream, {id: {column: number} for id, number in numbers.items()})
        return
    with connection.cursor() as cursor:
        for chunk in chunks(list(numbers.items())):
            cases = " ".join(["WHEN %s THEN %s"] * len(chunk))
            cursor.execute(
                f"UPDATE {table(Stream)} SET {column} = CASE id {cases} END WHERE id IN ({marks(chunk)})",
                [number for pair in chunk for number in pair] + [pair[0] for pair in chunk],
            )


def delete_rows(
    connection: BaseDatabaseWrapper, model: type[models.Model], column: str, ids: Sequence[int]
) -> None:
    """DELETE without the ORM's look for what refers to the rows: the caller deletes that first."""
    with connection.cursor() as cursor:
        for chunk in chunks(ids):
            cursor.execute(f"DELETE FROM {table(model)} WHERE {column} IN ({marks(chunk)})", chunk)


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def add_change(
    connection: BaseDatabaseWrapper, names: Iterable[str], token: str = "", now: datetime | None = None
) -> None:
    """Have every process learn of these streams and sessions, when the transaction is committed.

    It is the transaction's last statement. So what it names is visible with it, and soon after.
    """
    at = connection.ops.adapt_datetimefield_value(now or now_of(connection))
    statement = f"INSERT INTO {table(Notification)} (names, token, created_at) VALUES (%s, %s, %s)"
    change(connection, statement, [" ".join(names), token or new_token(), at])
