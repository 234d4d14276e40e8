"""Locks on rows, always taken in one order.

A session is locked before its streams, and streams in the order of their names. So two transactions that want
the same rows wait for each other, and never in a circle. SQLite locks the whole database when a transaction
begins (`writing`); the same queries do nothing more there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.models import STREAM_NAME_INDEX, Session, SessionQuerySet, Stream
from mcp_sessions.stores.database.statements import chunks, fetch, marks, table


@dataclass(slots=True)
class LockedStream:
    """A stream's row that is this transaction's to change."""

    id: int
    name: str
    position: int
    delivered: int
    has_ended: bool
    writer: str
    reader: str
    trimmed: int = 0
    kind: str = "get"

    @property
    def is_waiting(self) -> bool:
        """Whether something in it was not sent, nor taken by its reader."""
        return self.position > self.delivered


def lock_session(alias: str, key: str, *columns: str) -> tuple[Any, ...] | None:
    """The columns of a session that has not ended, which it cannot do now until the commit."""
    connection = connections[alias]
    name = connection.ops.quote_name("key")
    statement = (
        f"SELECT {', '.join(columns)} FROM {table(Session)}"
        f" WHERE {name} = %s AND ended_at IS NULL {for_update(connection)}"
    )
    return next(iter(fetch(connection, statement, [key])), None)


def lock_sessions(alias: str, keys: Iterable[str]) -> dict[str, Session]:
    """Those of the sessions that have not ended, without their data and metadata."""
    connection = connections[alias]
    name = connection.ops.quote_name("key")
    found: dict[str, Session] = {}
    for some in chunks(sorted(keys)):
        statement = (
            f"SELECT id, {name}, server, inbox FROM {table(Session)} WHERE {name} IN ({marks(some)})"
            f" AND ended_at IS NULL ORDER BY {name} {for_update(connection)}"
        )
        for row in fetch(connection, statement, some):
            found[row[1]] = Session.from_db(alias, ["id", "key", "server", "inbox"], row)
    return found


def locked_rows(rows: SessionQuerySet, *, skips_locked: bool = False) -> SessionQuerySet:
    """Lock sessions, but not their keys.

    PostgreSQL looks at the commit whether the session of a stream that was changed twice is still
    there. It would wait for whoever has locked the session and waits for the stream.
    """
    features = connections[rows.db].features
    return rows.select_for_update(
        skip_locked=skips_locked and features.has_select_for_update_skip_locked,
        no_key=features.has_select_for_no_key_update,
    )


def lock_streams(
    connection: BaseDatabaseWrapper, names: Iterable[str], *, skips_locked: bool = False
) -> list[LockedStream]:
    locked: list[LockedStream] = []
    # MariaDB locks rows as it comes upon them: by this index in their order, by a scan in another.
    index = f"FORCE INDEX ({STREAM_NAME_INDEX})" if connection.vendor == "mysql" else ""
    features = connection.features
    ending = "FOR UPDATE" if features.has_select_for_update else ""
    if skips_locked and features.has_select_for_update_skip_locked:
        ending += " SKIP LOCKED"
    with connection.cursor() as cursor:
        for chunk in chunks(sorted(names)):
            cursor.execute(
                "SELECT id, name, position, delivered, ended_at IS NOT NULL, writer, reader, trimmed, kind"
                f" FROM {table(Stream)} {index} WHERE name IN ({marks(chunk)}) ORDER BY name {ending}",
                chunk,
            )
            locked.extend(LockedStream(*row) for row in cursor.fetchall())
    return locked


def for_update(connection: BaseDatabaseWrapper) -> str:
    """Locks rows until the commit, but not their keys (see `locked_rows`). SQLite has locked all by then."""
    if not connection.features.has_select_for_update:
        return ""
    return "FOR NO KEY UPDATE" if connection.features.has_select_for_no_key_update else "FOR UPDATE"
