"""One slim row a session in the database, when the sessions are elsewhere: operators see every session.

A row is written when its session opens, and when it ends. What was missed meanwhile (a process
that was killed, sessions that lived longer than their row says) is made good by the purge.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from django.utils import timezone

from mcp_sessions.aside import put_aside
from mcp_sessions.lifetimes import expiry_reason
from mcp_sessions.records import EndReason, SessionRecord, Touch
from mcp_sessions.stores import get_rows, get_store
from mcp_sessions.stores.rows import SessionRows

logger = logging.getLogger("mcp_sessions.lifecycle")


def has_opened(session: SessionRecord) -> None:
    if (rows := get_rows()) is not None:
        slim = replace(session, data={}, inbox=0)
        put_aside(f"the row of session {session.key}", partial(rows.acreate, slim))


def has_ended(session: SessionRecord, reason: str) -> None:
    if (rows := get_rows()) is not None:
        at = session.ended_at or min(session.expires_at, timezone.now())
        put_aside(f"the row of session {session.key}", partial(rows.aclose_row, session, at, reason))


def were_used(uses: Sequence[Touch]) -> None:
    """Before they ended, which another process did: it did not know of these uses."""
    if uses and (rows := get_rows()) is not None:
        put_aside(f"the uses of {len(uses)} sessions that have ended", partial(rows.atouch, uses))


async def correct_some(batch: int) -> int:
    """Bring a batch of the rows up to date that should be over; how many."""
    if (rows := get_rows()) is None:
        return 0
    overdue = await rows.aoverdue(timezone.now(), batch)
    for key in overdue:
        await _correct(rows, key)
    return len(overdue)


async def purge_some(before: datetime, batch: int) -> int:
    """Delete a batch of the rows of sessions that ended at `before` or earlier; how many."""
    rows = get_rows()
    return 0 if rows is None else await rows.apurge(before, batch)


async def _correct(rows: SessionRows, key: str) -> None:
    """The session was used after its row was written, or its end was missed."""
    session = await get_store().aload_by_key(key)
    if session is None:
        await rows.aend(key, timezone.now(), EndReason.EXPIRED)
    elif session.is_live(timezone.now()):
        await rows.arefresh(session)
    else:
        reason = session.end_reason or expiry_reason(session.expires_at, session.timeout_at)
        await rows.aclose_row(session, session.ended_at or session.expires_at, reason)
