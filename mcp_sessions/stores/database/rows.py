"""Rows of raw queries, turned into records.

The session is read at every request: building the ORM's query and its instance would cost more
than asking the database.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.models import Session
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.database.verbs import table

_COLUMNS: Final = (
    "key",
    "digest",
    "server",
    "owner",
    "created_at",
    "last_accessed_at",
    "expires_at",
    "metadata",
    "data",
    "ended_at",
    "end_reason",
    "inbox",
)


def session_query(connection: BaseDatabaseWrapper, rest: str) -> str:
    """SELECT what makes a record FROM sessions; `rest` is what follows, the table's name is `s` there."""
    columns = ", ".join(f"s.{connection.ops.quote_name(column)}" for column in _COLUMNS)
    return f"SELECT {columns} FROM {table(Session)} s {rest}"


def fetch_sessions(alias: str, rest: str, params: Sequence[Any]) -> list[SessionRecord]:
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(session_query(connection, rest), params)
        return [session_record(row, connection.timezone) for row in cursor.fetchall()]


def session_record(row: tuple[Any, ...], zone: tzinfo | None) -> SessionRecord:
    key, digest, server, owner, created, accessed, expires, metadata, data, ended, reason, inbox = row
    return SessionRecord(
        key=key,
        digest=digest,
        server=server,
        owner=owner,
        created_at=aware(created, zone),
        last_accessed_at=aware(accessed, zone),
        expires_at=aware(expires, zone),
        metadata=json.loads(metadata),
        data=json.loads(data),
        ended_at=None if ended is None else aware(ended, zone),
        end_reason=reason,
        inbox=inbox,
    )


def aware(at: datetime, zone: tzinfo | None) -> datetime:
    """SQLite and MariaDB hand out what they keep, an instant without its time zone."""
    return at.replace(tzinfo=zone) if at.tzinfo is None else at
