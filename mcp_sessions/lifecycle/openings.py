"""Sessions begin: an id that nobody has, and room for one more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from django.utils import timezone

from mcp_sessions.completion import completed
from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import (
    ConfigurationError,
    DuplicateIdentifier,
    LimitReached,
    RequestError,
    StoreUnavailable,
)
from mcp_sessions.identifiers import digest_of, new_key
from mcp_sessions.lifecycle import summary_rows
from mcp_sessions.lifecycle.housekeeping import keep_clean
from mcp_sessions.lifecycle.last_used import lifetimes_at, write_uses
from mcp_sessions.lifecycle.live_count import keep_counting
from mcp_sessions.lifecycle.manager import SessionManager
from mcp_sessions.logs import note
from mcp_sessions.records import EndReason, Limits, SessionRecord, principal_of
from mcp_sessions.signal_queue import queue_signal
from mcp_sessions.signals import session_created, session_ended, session_limit_reached
from mcp_sessions.stores import get_store

DRAWS: Final = 8
"""A generator that draws taken ids so often in a row makes the same again and again."""
RETRY_SECONDS: Final = 30
"""The Retry-After of a client for which there was no room: when a session ends is not known before."""


async def open_session(
    endpoint: str, owner: str, metadata: Mapping[str, Any], reason: str = "initialize"
) -> tuple[str, SessionRecord]:
    """Store a new session; (its id, which nobody can read from the store again, and the record).

    Raises RequestError (429 or 503) if there is no room for it.
    """
    return await open_with_new_id(endpoint, owner, metadata, reason, digest_of)


async def open_with_new_id(
    endpoint: str,
    owner: str,
    metadata: Mapping[str, Any],
    reason: str,
    digest_for: Callable[[str], str],
) -> tuple[str, SessionRecord]:
    """The same; `digest_for` makes of its id what the store finds the session by."""
    for _ in range(DRAWS):
        session_id = SessionManager(endpoint).generate_session_id()
        # Never the guide's rescue, which hands the other client's session over: draw again.
        with suppress(DuplicateIdentifier):
            return session_id, await open_with_digest(
                digest_for(session_id), endpoint, owner, metadata, reason
            )
    raise ConfigurationError(f"SESSION_ID_GENERATOR drew {DRAWS} taken ids in a row.")


async def open_with_digest(
    digest: str, endpoint: str, owner: str, metadata: Mapping[str, Any], reason: str
) -> SessionRecord:
    """Store a new session with this digest.

    Raises DuplicateIdentifier if another session has it, and RequestError if there is no room.
    """
    session = _make(digest, endpoint, owner, metadata)
    try:
        await _store(session, reason)
    except LimitReached as error:
        raise _refuse(session, error) from error
    note(session=session)
    return session


@completed
async def _store(session: SessionRecord, reason: str) -> None:
    replaced = await get_store().acreate(session, _limits(session.server))
    queue_signal(session_created, session, reason)
    summary_rows.has_opened(session)
    keep_clean()
    keep_counting()
    await _have_made_room(replaced)


def _make(digest: str, endpoint: str, owner: str, metadata: Mapping[str, Any]) -> SessionRecord:
    now = timezone.now()
    expires_at, timeout_at = lifetimes_at(endpoint).at_opening(now)
    return SessionRecord(
        key=new_key(),
        digest=digest,
        server=endpoint,
        owner=owner,
        created_at=now,
        last_accessed_at=now,
        expires_at=expires_at,
        timeout_at=timeout_at,
        principal=principal_of(endpoint, owner, metadata.get("address", "")),
        metadata=metadata,
    )


def _limits(endpoint: str) -> Limits:
    options = AppSettings(endpoint)
    replaces = options.SESSION_REPLACEMENT_POLICY == "replace_oldest"
    return Limits(options.MAX_SESSIONS_PER_CLIENT, options.MAX_SESSIONS, replaces)


def _refuse(session: SessionRecord, error: LimitReached) -> RequestError:
    queue_signal(session_limit_reached, session, "server" if error.in_all else "principal")
    message = (
        "The server has as many sessions as it can keep. Try again later."
        if error.in_all
        else "You have as many sessions as one client may have. End one of them (DELETE), or try again later."
    )
    return RequestError(
        503 if error.in_all else 429,
        message,
        code=-32000,
        data={"reason": "session_limit"},
        headers=(("Retry-After", str(RETRY_SECONDS)),),
    )


async def _have_made_room(replaced: Sequence[SessionRecord]) -> None:
    for session in [await _as_ended(each) for each in replaced]:
        queue_signal(session_limit_reached, session, "replaced")
        queue_signal(session_ended, session, EndReason.REPLACED)
        summary_rows.has_ended(session, EndReason.REPLACED)
    if replaced:
        await get_hub().sessions_have_ended({session.key: EndReason.REPLACED for session in replaced})


async def _as_ended(before: SessionRecord) -> SessionRecord:
    """A replaced session with the uses that were not written yet; as it was if the store is unavailable."""
    await write_uses([before.key])
    with suppress(StoreUnavailable):
        return await get_store().aload_by_key(before.key) or before
    return before
