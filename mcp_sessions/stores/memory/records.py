"""What is kept, turned into records that nobody can change it by."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from mcp_sessions.exceptions import UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.records import SessionRecord, StreamRecord
from mcp_sessions.stores.memory.kept import Session, Stream
from mcp_sessions.stores.storable import checked_metadata, deserialize, serialize, storable_json

logger = logging.getLogger("mcp_sessions.stores")


def new_session(session: SessionRecord) -> Session:
    """The session as it will be kept. Raises InvalidSessionData."""
    return Session(
        number=0,
        key=session.key,
        digest=session.digest,
        server=session.server,
        owner=session.owner,
        principal=session.principal,
        created_at=session.created_at,
        last_accessed_at=session.last_accessed_at,
        expires_at=session.expires_at,
        timeout_at=session.timeout_at,
        requests=session.requests,
        connections=session.connections,
        ended_at=session.ended_at,
        end_reason=session.end_reason,
        metadata=json.dumps(storable_json(session.metadata)),
        data=serialize(session.data),
    )


def session_record(session: Session) -> SessionRecord | None:
    """None, with a log line, for a session that cannot be read: it is as good as not there."""
    try:
        return SessionRecord(
            key=session.key,
            digest=session.digest,
            server=session.server,
            owner=session.owner,
            created_at=session.created_at,
            last_accessed_at=session.last_accessed_at,
            expires_at=session.expires_at,
            timeout_at=session.timeout_at,
            principal=session.principal,
            requests=session.requests,
            connections=session.connections,
            metadata=read_metadata(session),
            data=deserialize(session.data),
            ended_at=session.ended_at,
            end_reason=session.end_reason,
            inbox=session.inbox,
            previous_digest=session.previous_digest,
            previous_until=session.previous_until,
            sealed_id=session.sealed_id,
        )
    except UnreadableData as error:
        logger.error("session %s cannot be read: %s", session.key, error, extra=about(session.key))
        return None


def readable(sessions: Iterable[Session]) -> Iterator[SessionRecord]:
    """Those of the sessions that can be read."""
    return (record for session in sessions if (record := session_record(session)) is not None)


def read_metadata(session: Session) -> dict[str, Any]:
    try:
        return checked_metadata(json.loads(session.metadata))
    except ValueError as error:
        raise UnreadableData(f"The session's metadata is not JSON: {error}") from error


def stream_record(stream: Stream) -> StreamRecord:
    return StreamRecord(
        name=stream.name,
        session_key=stream.session_key,
        kind=stream.kind,
        position=stream.position,
        delivered=stream.delivered,
        ended_at=stream.ended_at,
        request_ids=stream.request_ids,
        writer=stream.writer,
        reader=stream.reader,
        attached_at=stream.attached_at,
        created_at=stream.created_at,
        trimmed=stream.trimmed,
    )
