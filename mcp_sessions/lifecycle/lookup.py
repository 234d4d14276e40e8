"""Sessions are found: by the id that opens them, or by their public name."""

from __future__ import annotations

import logging

from django.utils import timezone

from mcp_sessions.conf import served_paths
from mcp_sessions.exceptions import SessionDenied, SessionNotFound
from mcp_sessions.exchange import Exchange
from mcp_sessions.identifiers import digest_of, is_made_key, is_session_id
from mcp_sessions.lifecycle.manager import SessionManager
from mcp_sessions.logs import NONE, about, note, tell
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.security.addresses import client_address
from mcp_sessions.security.binding import mismatches
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.lifecycle")


async def resume(session_id: str, exchange: Exchange) -> SessionRecord:
    """The live session this id opens, at this endpoint ("": any), if this request may use it.

    It may if it is the owner's and as far as SESSION_BINDING says like the one that opened the session.
    Raises SessionNotFound: SessionDenied for one that exists, which clients must not be able to tell apart.

    Nothing is written: a request that is refused neither touches a session nor ends one.
    """
    if not _may_be_id(session_id, exchange.endpoint):
        raise _missed("malformed")
    session = await get_store().aload(digest := digest_of(session_id))
    if session is None:
        raise _missed("unknown")
    note(session=session)
    if not session.is_opened_by(digest, timezone.now()):
        raise _missed(EndReason.ROTATED, session)
    if not session.is_live(timezone.now()):
        raise _missed(session.end_reason or EndReason.EXPIRED, session)
    check_access(session, exchange)
    return session


def check_access(session: SessionRecord, exchange: Exchange) -> None:
    """Raises SessionDenied if this request may not use the session."""
    if (why := _reason_to_deny(session, exchange)) is not None:
        raise _denied(why, session)


def _reason_to_deny(session: SessionRecord, exchange: Exchange) -> str | None:
    """Why this request may not use the session, if so."""
    if exchange.endpoint not in ("", session.server):
        return "endpoint"
    if session.owner != exchange.owner:
        return "owner"
    for what, policy in mismatches(session, exchange):
        if policy == "reject":
            return what
        tell("mismatch", session, what, address=client_address(exchange))
    return None


def looks_like_id(text: str) -> bool:
    """Whether this may be the id of a session, which nobody should write where it is kept."""
    return not is_made_key(text) and _may_be_id(text, "")


def _missed(why: str, session: SessionRecord | None = None) -> SessionNotFound:
    """Clients learn no more than that. Debug lines give operators the reason."""
    note(reason=why)
    key = session.key if session else NONE
    logger.debug("no session for a request: %s", why, extra={**about(key), "mcp_reason": why})
    return SessionNotFound()


def _denied(why: str, session: SessionRecord) -> SessionDenied:
    _missed(why, session)
    return SessionDenied(session.key, why)


def _may_be_id(session_id: str, endpoint: str) -> bool:
    """What cannot be an id of ours never reaches the store."""
    endpoints = (endpoint,) if endpoint else served_paths()
    return any(SessionManager(each).validate_session_id(session_id) for each in endpoints)


async def find(key_or_id: str) -> SessionRecord:
    """The live session of this key (or id), for code of the project. Raises SessionNotFound."""
    session = await look_up(key_or_id)
    if not session.is_live(timezone.now()):
        raise SessionNotFound
    return session


async def look_up(key_or_id: str) -> SessionRecord:
    """The session of this key (or id), live or not. Raises SessionNotFound."""
    # An id is never sent to the store, which may log what it is asked for.
    session = await get_store().aload_by_key(key_or_id) if is_made_key(key_or_id) else None
    if session is None and is_session_id(key_or_id):
        session = await get_store().aload(digest := digest_of(key_or_id))
        if session is not None and not session.is_opened_by(digest, timezone.now()):
            raise SessionNotFound
    if session is None:
        raise SessionNotFound
    return session
