"""Rows turned into records, and records into columns.

The session is read at every request: building the ORM's query and its instance would cost more
than asking the database.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.exceptions import UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.models import ADDRESS_LENGTH, CLIENT_LENGTH, Session, StreamQuerySet
from mcp_sessions.records import SessionRecord, StreamRecord, client_of
from mcp_sessions.stores.database.statements import marks, table
from mcp_sessions.stores.storable import checked_metadata, deserialize, serialize, storable_json

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
_STREAM_COLUMNS: Final = (
    "name",
    "session__key",
    "kind",
    "position",
    "delivered",
    "ended_at",
    "request_ids",
    "writer",
    "reader",
    "attached_at",
    "created_at",
    "trimmed",
)
SEARCHED: Final = frozenset({"address", "client"})
"""The names in the metadata that columns are made of."""


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
    """The session that a digest leads to; None if there are two: nobody can say which of them is meant."""
    found = [session for row in rows if (session := session_record(row, zone)) is not None]
    return found[0] if len(found) == 1 else None


def session_record(row: tuple[Any, ...], zone: tzinfo | None) -> SessionRecord | None:
    """None, with a log line, for a row that cannot be read. The row stays as it is."""
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


def columns_of(connection: BaseDatabaseWrapper, session: SessionRecord) -> dict[str, Any]:
    adapt = connection.ops.adapt_datetimefield_value
    metadata = storable_json(session.metadata)
    return {
        "key": session.key,
        "digest": session.digest,
        "server": session.server,
        "owner": session.owner,
        "created_at": adapt(session.created_at),
        "last_accessed_at": adapt(session.last_accessed_at),
        "expires_at": adapt(session.expires_at),
        "timeout_at": adapt(session.timeout_at),
        "principal": session.principal,
        "requests": session.requests,
        "connections": session.connections,
        "ended_at": adapt(session.ended_at),
        "end_reason": session.end_reason,
        "metadata": json.dumps(metadata),
        **searched(metadata),
        "data": serialize(session.data),
        "lease_token": "",
    }


def searched(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The columns and their values, from metadata that can be stored. Clients say what they like."""
    return {
        "address": str(metadata.get("address") or "")[:ADDRESS_LENGTH],
        "client": client_of(metadata).lower()[:CLIENT_LENGTH],
    }


def stream_records(rows: StreamQuerySet) -> Iterator[StreamRecord]:
    """Without the ORM's instances: a process asks for all that it has open."""
    for name, key, kind, position, delivered, ended_at, ids, *rest in rows.values_list(*_STREAM_COLUMNS):
        answers = tuple(json.loads(ids or "[]"))
        yield StreamRecord(name, key, kind, position, delivered, ended_at, answers, *rest)
