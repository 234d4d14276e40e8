"""The id of a session that was rotated, as the store has it while both of its ids are good.

The worker that rotates a session is rarely the one that holds its client's stream, and that one has to send
the new id, which no row has in clear. So it is stored sealed: bound to the session and to this very id,
readable with SECRET_KEY alone, and deleted when the grace is over.
"""

from __future__ import annotations

from typing import Final

from mcp_sessions import sealing
from mcp_sessions.identifiers import digest_of
from mcp_sessions.records import SessionRecord

PURPOSE: Final = "rotation"


def seal_id(session_key: str, session_id: str) -> str:
    """A session's new id for `Rotation.sealed_id`."""
    return sealing.seal(session_id, PURPOSE, _bound_to(session_key, digest_of(session_id)))


def current_id(session: SessionRecord) -> str | None:
    """The id of a session that was rotated; None if the grace is over, or SECRET_KEY was another."""
    return sealing.unseal(session.sealed_id, PURPOSE, _bound_to(session.key, session.digest))


def id_for(session: SessionRecord, session_id: str) -> str | None:
    """The session's own id, given one that opens it and may be its previous one."""
    return session_id if session.digest == digest_of(session_id) else current_id(session)


def _bound_to(session_key: str, digest: str) -> str:
    return f"{session_key} {digest}"
