"""Sessions and streams as Redis has them, and as records."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mcp_sessions.exceptions import UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.records import SessionRecord, StreamKind, StreamRecord
from mcp_sessions.stores.redis.values import Argument, instant, instant_or_none, text
from mcp_sessions.stores.storable import deserialize, serialize, storable_json

logger = logging.getLogger("mcp_sessions.stores")

METADATA: Final = "m:"
"""Before the names of metadata in a session's hash, each of which has its JSON."""


def session_fields(session: SessionRecord) -> list[Argument]:
    """Names and values of a new session's hash, one after the other."""
    fields: dict[str, Argument] = {
        "key": session.key,
        "digest": session.digest,
        "server": session.server,
        "owner": session.owner,
        "principal": session.principal,
        "created_at": session.created_at,
        "last_accessed_at": session.last_accessed_at,
        "expires_at": session.expires_at,
        "timeout_at": session.timeout_at,
        "requests": session.requests,
        "connections": session.connections,
        "inbox": 0,
        "data": serialize(session.data),
    }
    if session.ended_at is not None:
        fields |= {"ended_at": session.ended_at, "end_reason": session.end_reason}
    return [*(part for field in fields.items() for part in field), *metadata_fields(session.metadata)]


def metadata_fields(metadata: Mapping[str, Any]) -> list[Argument]:
    """Names of fields and their JSON, one after the other."""
    named = storable_json(metadata).items()
    return [part for name, value in named for part in (METADATA + name, json.dumps(value))]


def session_record(found: bytes | None) -> SessionRecord | None:
    """None for a session that is not there, and, with a log line, for one that cannot be read.

    Such a hash stays as it is, and is as good as not there.
    """
    if not found:
        return None
    fields: dict[str, str] = {}
    try:
        parts = json.loads(text(found))
        fields = dict(zip(parts[::2], parts[1::2], strict=True))
        return _session_record(fields)
    except (UnreadableData, LookupError, ValueError, TypeError, OverflowError, RecursionError) as error:
        key, what = fields.get("key", "?"), error or type(error).__name__
        logger.error("session %s cannot be read: %s", key, what, extra=about(key))
        return None


def _session_record(fields: Mapping[str, str]) -> SessionRecord:
    return SessionRecord(
        key=fields["key"],
        digest=fields["digest"],
        server=fields["server"],
        owner=fields["owner"],
        created_at=instant(fields["created_at"]),
        last_accessed_at=instant(fields["last_accessed_at"]),
        expires_at=instant(fields["expires_at"]),
        timeout_at=instant(fields["timeout_at"]),
        principal=fields["principal"],
        requests=int(fields["requests"]),
        connections=int(fields["connections"]),
        metadata=_metadata(fields),
        data=deserialize(fields["data"]),
        ended_at=instant_or_none(fields.get("ended_at")),
        end_reason=fields.get("end_reason", ""),
        inbox=int(fields["inbox"]),
        previous_digest=fields.get("previous_digest", ""),
        previous_until=instant_or_none(fields.get("previous_until")),
        sealed_id=fields.get("sealed_id", ""),
    )


def _metadata(fields: Mapping[str, str]) -> dict[str, Any]:
    """All values are parsed in one go, since a session is read at every request."""
    texts = {name: value for name, value in fields.items() if name.startswith(METADATA)}
    names = (name.removeprefix(METADATA) for name in texts)
    return dict(zip(names, json.loads(f"[{','.join(texts.values())}]"), strict=True))


def session_records(found: Iterable[bytes]) -> list[SessionRecord]:
    """Those of them that can be read."""
    records = map(session_record, found)
    return [record for record in records if record is not None]


def stream_record(found: bytes) -> StreamRecord | None:
    """None, with a log line, for a stream that cannot be read."""
    try:
        return _stream_record(*json.loads(text(found)))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        logger.error("a stream cannot be read: %s (%s)", error, found.decode(errors="replace"))
        return None


def stream_records(found: Iterable[bytes]) -> list[StreamRecord]:
    """Those of them that can be read."""
    records = map(stream_record, found)
    return [record for record in records if record is not None]


def _stream_record(
    name: str,
    session: str,
    kind: StreamKind,
    position: str,
    delivered: str,
    ended_at: str,
    request_ids: str,
    writer: str,
    reader: str,
    attached_at: str,
    created_at: str,
    trimmed: str,
) -> StreamRecord:
    return StreamRecord(
        name=name,
        session_key=session,
        kind=kind,
        position=int(position),
        delivered=int(delivered),
        ended_at=instant_or_none(ended_at),
        request_ids=tuple(json.loads(request_ids)),
        writer=writer,
        reader=reader,
        attached_at=instant_or_none(attached_at),
        created_at=instant_or_none(created_at),
        trimmed=int(trimmed),
    )
