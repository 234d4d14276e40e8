"""Sessions of 2026-07-28, which the protocol does not know: named by a handle, or a principal's own.

A handle is no session id: the store keeps its digest apart from those of
ids, so that neither is ever taken for the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from operator import attrgetter
from typing import Any, Final

from django.utils import timezone

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import (
    DuplicateIdentifier,
    SessionDenied,
    SessionNotFound,
    StoreUnavailable,
)
from mcp_sessions.exchange import Exchange
from mcp_sessions.identifiers import digest_of, is_made_key
from mcp_sessions.lifecycle.endings import end
from mcp_sessions.lifecycle.last_used import touch
from mcp_sessions.lifecycle.lookup import check_access
from mcp_sessions.lifecycle.manager import SessionManager
from mcp_sessions.lifecycle.openings import open_with_digest, open_with_new_id
from mcp_sessions.logs import note
from mcp_sessions.records import EndReason, SessionRecord, principal_of
from mcp_sessions.stores import get_store

HANDLE: Final = {"dialect": "handle"}
NAMED: Final = {"purpose": "handle"}
"""The metadata of a session whose handle somebody has asked for."""
MAX_KEYS: Final = 1000
ATTEMPTS: Final = 10
"""Others may open the same session at the same time, and delete one that has ended. Not so often."""


async def open_handle(endpoint: str, owner: str, metadata: Mapping[str, Any]) -> tuple[str, SessionRecord]:
    """Store a new session; (its handle, which nobody can read from the store again, and the record).

    Raises RequestError (429 or 503) if there is no room for it.
    """
    opened = {**NAMED, **metadata, **HANDLE}
    return await open_with_new_id(endpoint, owner, opened, "handle", _handle_digest)


async def find_handle(handle: str, exchange: Exchange) -> SessionRecord:
    """The live session with this handle, if this request may use it. It counts as used.

    Raises SessionNotFound for a handle that is unknown or has expired, and SessionDenied for another
    principal's, or where SESSION_BINDING forbids it.
    """
    if not SessionManager(exchange.endpoint).validate_session_id(handle):
        raise SessionNotFound
    return await _usable(_handle_digest(handle), exchange)


async def list_handles(exchange: Exchange, limit: int) -> list[SessionRecord]:
    """The live sessions that a request's principal has opened by handles and may use, the last used first."""
    endpoint, owner, now = exchange.endpoint, exchange.owner, timezone.now()
    # Others of the principal's sessions count at the same limits, and are among the keys.
    keys = await get_store().akeys_of(endpoint, principal_of(endpoint, owner, ""), now, MAX_KEYS)
    found = await asyncio.gather(*map(get_store().aload_by_key, keys))
    named = [session for session in found if session is not None and _is_named(session, exchange)]
    return sorted(named, key=attrgetter("last_accessed_at"), reverse=True)[:limit]


async def find_by_key(key: str, exchange: Exchange) -> SessionRecord:
    """The live session of this key that a request's principal has opened by a handle.

    Raises what find_handle() raises.
    """
    session = await get_store().aload_by_key(key) if is_made_key(key) else None
    if session is None or not session.is_live(timezone.now()) or not _is_by_handle(session):
        raise SessionNotFound
    check_access(session, exchange)
    return session


def _is_named(session: SessionRecord, exchange: Exchange) -> bool:
    try:
        check_access(session, exchange)
    except SessionDenied:
        return False
    return _is_by_handle(session) and session.is_live(timezone.now())


def _is_by_handle(session: SessionRecord) -> bool:
    """Whether a principal has opened it, and has its handle: not for what the app itself keeps."""
    return session.metadata.get("purpose") == NAMED["purpose"]


async def _usable(digest: str, exchange: Exchange | None) -> SessionRecord:
    session = await get_store().aload(digest)
    if session is None or not session.is_live(timezone.now()):
        raise SessionNotFound
    if exchange is not None:
        check_access(session, exchange)
    if await _has_outlived(session):
        raise SessionNotFound
    note(session=session)
    touch(session, requests=1)
    return session


async def find_own(endpoint: str, owner: str, metadata: Mapping[str, Any]) -> SessionRecord:
    """The session that a principal has without a handle: opened when it has none. It counts as used.

    Raises RequestError (429 or 503) if there is no room for it.
    """
    return await _find_or_open(digest_of(f"own\n{endpoint}\n{owner}"), endpoint, owner, metadata)


async def find_kept(name: str, endpoint: str, exchange: Exchange | None) -> SessionRecord:
    """The live session that was opened by `open_kept` under this name, if the request may use it.

    Without an exchange only the name decides. It counts as used. Raises what find_handle() raises.
    """
    return await _usable(_kept_digest(name, endpoint), exchange)


async def open_kept(name: str, endpoint: str, owner: str, metadata: Mapping[str, Any]) -> SessionRecord:
    """A session for what somebody keeps under a name that no client chooses; the one that is there, if any.

    Raises RequestError (429 or 503) if there is no room for it.
    """
    return await _find_or_open(_kept_digest(name, endpoint), endpoint, owner, metadata)


async def _find_or_open(digest: str, endpoint: str, owner: str, metadata: Mapping[str, Any]) -> SessionRecord:
    for _ in range(ATTEMPTS):
        session = await get_store().aload(digest)
        if session is None:
            session = await _open_unless_taken(digest, endpoint, owner, metadata)
        elif not session.is_live(timezone.now()):
            await _delete_ended(session)
            continue
        if session is not None:
            note(session=session)
            touch(session, requests=1)
            return session
    raise StoreUnavailable("This session can neither be read nor be opened.")


async def _open_unless_taken(
    digest: str, endpoint: str, owner: str, metadata: Mapping[str, Any]
) -> SessionRecord | None:
    """None if another worker has opened it at the same time."""
    try:
        return await open_with_digest(digest, endpoint, owner, {**metadata, **HANDLE}, "handle")
    except DuplicateIdentifier:
        return None


async def _delete_ended(session: SessionRecord) -> None:
    """Delete a principal's own session that has ended: its digest is the next one's."""
    if session.ended_at is None:
        await end(session.key, EndReason.EXPIRED)
    await get_store().apurge(timezone.now() + timedelta(days=1), 1, [session.key])


async def _has_outlived(session: SessionRecord) -> bool:
    """Whether an anonymous session is older than it may become: whoever has its handle has it."""
    limit = AppSettings(session.server).ANONYMOUS_HANDLE_SECONDS
    if session.owner or limit is None or timezone.now() < session.created_at + timedelta(seconds=limit):
        return False
    await end(session.key, EndReason.EXPIRED)
    return True


def _kept_digest(name: str, endpoint: str) -> str:
    return digest_of(f"kept\n{endpoint}\n{name}")


def _handle_digest(handle: str) -> str:
    return digest_of(f"handle\n{handle}")
