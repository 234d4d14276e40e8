"""Rows of raw queries, turned into records.

The session is read at every request: building the ORM's query and its instance would cost more
than asking the database.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.exceptions import UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.models import Session
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.database.statements import marks, table
from mcp_sessions.stores.storable import checked_metadata, deserialize

logger = logging.getLogger("mcp_sessions.stores")

_COLUMNS: Final = (
    "key",
    "digest",
    "server",
    "owner",
    "created_at",
    "last_accessed_at",
    "expires_at",
    "timeout_at",
    "principal",
    "requests",
    "connections",
    "metadata",
    "data",
    "ended_at",
    "end_reason",
    "inbox",
    "previous_digest",
    "previous_until",
    "sealed_id",
)
DIGEST: Final = _COLUMNS.index("digest")
PREVIOUS_DIGEST: Final = _COLUMNS.index("previous_digest")


def session_query(connection: BaseDatabaseWrapper, rest: str) -> str:
    """SELECT what makes a record FROM sessions; `rest` is what follows, the table's name is `s` there."""
    names = {column: f"s.{connection.ops.quote_name(column)}" for column in _COLUMNS}
    if connection.vendor == "postgresql":
        # So every driver hands out JSON as text, in whichever form.
        names["metadata"] += "::text"
    columns = ", ".join(names.values())
    return f"SELECT {columns} FROM {table(Session)} s {rest}"


def fetch_sessions(alias: str, rest: str, params: Sequence[Any]) -> list[SessionRecord]:
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(session_query(connection, rest), params)
        found = [session_record(row, connection.timezone) for row in cursor.fetchall()]
    return [session for session in found if session is not None]


def fetch_by_id(alias: str, ids: Sequence[int]) -> list[SessionRecord]:
    return fetch_sessions(alias, f"WHERE s.id IN ({marks(ids)}) ORDER BY s.id", ids) if ids else []


def the_only_one(rows: Sequence[tuple[Any, ...]], zone: tzinfo | None) -> SessionRecord | None:
    """What a digest leads to: nobody can say which of two sessions is meant."""
    found = [session for row in rows if (session := session_record(row, zone)) is not None]
    return found[0] if len(found) == 1 else None


def session_record(row: tuple[Any, ...], zone: tzinfo | None) -> SessionRecord | None:
    """None, with a log line, for a row that cannot be read: it stays, and is as good as not there."""
    key, digest, server, owner, created, accessed, expires, timeout, *rest = row
    principal, requests, connected, metadata, data, ended, reason, inbox, *rotation = rest
    previous, until, sealed = rotation
    try:
        return SessionRecord(
            key=key,
            digest=digest,
            server=server,
            owner=owner,
            created_at=aware(created, zone),
            last_accessed_at=aware(accessed, zone),
            expires_at=aware(expires, zone),
            timeout_at=aware(timeout, zone),
            principal=principal,
            requests=requests,
            connections=connected,
            metadata=checked_metadata(json.loads(metadata)),
            data=deserialize(data),
            ended_at=None if ended is None else aware(ended, zone),
            end_reason=reason,
            inbox=inbox,
            previous_digest=previous,
            previous_until=None if until is None else aware(until, zone),
            sealed_id=sealed,
        )
    except (UnreadableData, ValueError) as error:
        logger.error("session %s cannot be read: %s", key, error, extra=about(key))
        return None


def aware(at: datetime, zone: tzinfo | None) -> datetime:
    """SQLite and MariaDB hand out what they keep, an instant without its time zone."""
    return at.replace(tzinfo=zone) if at.tzinfo is None else at
