"""Sessions end: by their client or an operator, for want of time; and are extended."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from django.utils import timezone

from mcp_sessions.completion import completed
from mcp_sessions.conf import AppSettings, app_settings
from mcp_sessions.deferred import wait_for_deferred
from mcp_sessions.delivery import get_hub, with_retry
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.lifecycle import summary_rows
from mcp_sessions.lifecycle.last_used import lifetimes_at, write_uses
from mcp_sessions.lifecycle.lookup import find
from mcp_sessions.lifetimes import expiry_reason
from mcp_sessions.logs import about, tell
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.runtime import on_runtime, run_sync
from mcp_sessions.signal_queue import queue_signal
from mcp_sessions.signals import session_ended, session_expired
from mcp_sessions.stores import get_store

REASON_LENGTH: Final = 32
"""Characters of a reason that a store keeps."""

logger = logging.getLogger("mcp_sessions.lifecycle")


async def end(key: str, reason: str) -> bool:
    """End a session: its id opens nothing any more, its streams close, its calls are cancelled.

    True for the one caller that ended it.
    """
    has_ended, _ = await _end(key, reason)
    return has_ended


@completed
async def _end(key: str, reason: str) -> tuple[bool, SessionRecord | None]:
    """(whether this caller ended it, what it is then, unless it was purged at once)."""
    await write_uses([key])
    has_ended = await get_store().aend(key, timezone.now(), reason)
    session = await _tell_ended(key, reason) if has_ended else None
    await get_hub().sessions_have_ended({key: reason})
    return has_ended, session


async def _tell_ended(key: str, reason: str) -> SessionRecord | None:
    session = await _load_ended(key)
    if session is None:
        logger.warning("session %s ended, and its signal cannot be sent: %s", key, reason, extra=about(key))
        return None
    queue_signal(session_ended, session, reason)
    summary_rows.has_ended(session, reason)
    return session


async def _load_ended(key: str) -> SessionRecord | None:
    try:
        return await with_retry(
            lambda: get_store().aload_by_key(key), f"the signal of the end of session {key} waits"
        )
    except StoreUnavailable:
        return None


def end_sync(key: str, reason: str) -> bool:
    """`end` for synchronous code, whose process may end soon: the signal was sent when this returns."""
    has_ended = run_sync(end(key, reason))
    wait_for_deferred()
    return has_ended


@on_runtime
async def aend_session(key: str, reason: str = EndReason.OPERATOR) -> SessionRecord | None:
    """End a live session, by its public name or its id; as it is then, or None if somebody else was quicker.

    `reason`, 1 to 32 printable characters, is sent to its client and with the signal. Raises
    SessionNotFound, and ValueError for another reason.
    """
    check_reason(reason)
    session = await find(key)
    has_ended, ended = await _end(session.key, reason)
    if not has_ended:
        return None
    return ended or replace(session, ended_at=timezone.now(), end_reason=reason)


def end_session(key: str, reason: str = EndReason.OPERATOR) -> SessionRecord | None:
    """aend_session() for synchronous code; no part of the caller's transaction."""
    ended = run_sync(aend_session(key, reason))
    wait_for_deferred()
    return ended


def check_reason(reason: str) -> None:
    """Raise ValueError for what is no reason of the project's own."""
    if not isinstance(reason, str) or not reason or not reason.isprintable():
        raise ValueError("A reason is a text of printable characters.")
    if len(reason) > REASON_LENGTH:
        raise ValueError(f"A reason has at most {REASON_LENGTH} characters.")


@on_runtime
@completed
async def aextend_session(key: str, seconds: float | None = None) -> SessionRecord:
    """Let a session live for `seconds` (SESSION_TIMEOUT if it is not given) from now on, used or not.

    `key` is its public name, or its id. It never becomes shorter, nor longer than
    MAX_SESSION_LIFETIME. Raises SessionNotFound, and ValueError for what is no number of seconds.
    """
    session = await find(key)
    wanted = AppSettings(session.server).SESSION_TIMEOUT if seconds is None else seconds
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not 0 < wanted < math.inf:
        raise ValueError(f"Extend a session by a number of seconds greater than 0, not {wanted!r}.")
    await get_store().atouch([lifetimes_at(session.server).extended(session, timezone.now(), wanted)])
    extended = await find(session.key)
    tell("extended", extended, until=extended.expires_at)
    return extended


def extend_session(key: str, seconds: float | None = None) -> SessionRecord:
    """aextend_session() for synchronous code; no part of the caller's transaction."""
    return run_sync(aextend_session(key, seconds))


@completed
async def expire_some(keys: Sequence[str] | None = None) -> int:
    """End one batch of the sessions whose time has run out, or those among these; how many."""
    batch = await get_store().aexpire(timezone.now(), app_settings.PURGE_BATCH, keys)
    if batch:
        await _have_expired(batch)
    return len(batch)


async def _have_expired(sessions: Sequence[SessionRecord]) -> None:
    reasons = {each.key: expiry_reason(each.expires_at, each.timeout_at) for each in sessions}
    for session in sessions:
        queue_signal(session_expired, session, reasons[session.key])
        summary_rows.has_ended(session, reasons[session.key])
    await write_uses(reasons)
    await get_hub().sessions_have_ended(reasons)
