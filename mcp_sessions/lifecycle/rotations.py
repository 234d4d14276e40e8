"""Sessions get another id: on demand, and when their client logs in to Django (SessionMiddleware).

The id before opens the session for ROTATION_GRACE_SECONDS more: requests that are under way arrive, and a
client whose stream is just reconnecting learns the new id.

Source: the guide's chapter "Best Practices", "Rotate session IDs on authentication changes".
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.utils import timezone

from mcp_sessions.completion import completed
from mcp_sessions.conf import AppSettings
from mcp_sessions.deferred import wait_for_deferred
from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import ConfigurationError, DuplicateIdentifier, RotationRefused
from mcp_sessions.identifiers import digest_of
from mcp_sessions.lifecycle import endings, summary_rows
from mcp_sessions.lifecycle.lookup import find
from mcp_sessions.lifecycle.manager import SessionManager
from mcp_sessions.records import EndReason, Rotation, SessionRecord, principal_of
from mcp_sessions.runtime import on_runtime, run_sync
from mcp_sessions.security.rotation import current_id, seal_id
from mcp_sessions.signal_queue import queue_signal
from mcp_sessions.signals import session_rotated
from mcp_sessions.stores import get_store

DRAWS: Final = 8
"""Attempts: others may rotate the session at the same time, and a generator may draw an id that is taken."""


@on_runtime
@completed
async def arotate_session(key: str, *, owner: str | None = None, end: bool = False) -> str | None:
    """Give a live session another id; the new id, a credential, which its owner is sent on open streams.

    `key` is the session's public name, or its id. With `owner` (`Principal.owner`) it belongs to that owner
    from then on: call it so when an anonymous client of the session guide has logged in. What was open before
    is closed and what was running is cancelled (`data.reason` "rotated"): the client opens its streams again
    as that owner, by the old id within ROTATION_GRACE_SECONDS, and gets the new id then.

    Clients of the specification cannot learn another id. For their sessions this raises RotationRefused, or,
    with `end`, ends the session and returns None. Raises SessionNotFound.
    """
    session = await find(key)
    if not session.can_learn_id:
        if not end:
            raise RotationRefused(
                "The session's client cannot learn another id. End the session, and it opens another one."
            )
        await endings.end(session.key, EndReason.ROTATED)
        return None
    if owner is not None and owner == session.owner and (given := current_id(session)) is not None:
        # Of the requests that come with a login at the same time one has rotated it.
        return given
    session_id = await _give_id(session, owner)
    await _tell_rotated(session, "requested" if owner in (None, session.owner) else "authentication")
    return session_id


def rotate_session(key: str, *, owner: str | None = None, end: bool = False) -> str | None:
    """arotate_session() for synchronous code; no part of the caller's transaction."""
    session_id = run_sync(arotate_session(key, owner=owner, end=end))
    wait_for_deferred()
    return session_id


async def _give_id(session: SessionRecord, owner: str | None) -> str:
    for _ in range(DRAWS):
        session_id = SessionManager(session.server).generate_session_id()
        try:
            if await get_store().arotate(session.key, session.digest, _rotation(session, session_id, owner)):
                return session_id
        except DuplicateIdentifier:
            continue
        # Somebody else was quicker, and the client is sent that id: one rotation is enough for both.
        session = await find(session.key)
        if owner in (None, session.owner) and (given := current_id(session)) is not None:
            return given
    raise ConfigurationError(f"SESSION_ID_GENERATOR drew {DRAWS} taken ids in a row.")


def _rotation(session: SessionRecord, session_id: str, owner: str | None) -> Rotation:
    grace = AppSettings(session.server).ROTATION_GRACE_SECONDS
    address = str(session.metadata.get("address", ""))
    return Rotation(
        digest=digest_of(session_id),
        sealed_id=seal_id(session.key, session_id),
        until=timezone.now() + timedelta(seconds=grace),
        owner=owner,
        principal="" if owner is None else principal_of(session.server, owner, address),
    )


async def _tell_rotated(before: SessionRecord, reason: str) -> None:
    get_hub().session_has_rotated(before.key)
    await get_hub().flush_notifications()
    session = await get_store().aload_by_key(before.key) or before
    queue_signal(session_rotated, session, reason)
    summary_rows.has_rotated(session)
