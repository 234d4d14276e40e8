"""Summary rows: one row a session in the database where another store has the sessions, for operators.

A row is written when its session opens, and when it ends. The purge makes good what was missed, because a
process was killed or a session has lived longer than its row says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from django.utils import timezone

from mcp_sessions.lifecycle.summary_row_writer import RowWriter
from mcp_sessions.lifetimes import expiry_reason
from mcp_sessions.records import EndReason, SessionRecord, Touch
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_rows, get_store
from mcp_sessions.stores.rows import SessionRows

logger = logging.getLogger("mcp_sessions.lifecycle")


def has_opened(session: SessionRecord) -> None:
    if get_rows() is not None:
        current().service(RowWriter).write(session)


has_rotated = has_opened


def has_ended(session: SessionRecord, reason: str) -> None:
    if get_rows() is not None:
        current().service(RowWriter).write(_ended(session, reason))


async def were_used(uses: Iterable[Touch]) -> None:
    """Before they ended, which another process may have done that did not know of these uses."""
    if get_rows() is None:
        return
    for use in uses:
        # The row gets the totals of the session, so that nothing is added twice.
        session = await get_store().aload_by_key(use.key)
        if session is None:
            current().service(RowWriter).use(use)
        elif session.ended_at is not None:
            current().service(RowWriter).write(session)


def _ended(session: SessionRecord, reason: str) -> SessionRecord:
    at = session.ended_at or min(session.expires_at, timezone.now())
    return replace(session, ended_at=at, end_reason=reason)


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
        await rows.awrite([session])
    else:
        reason = session.end_reason or expiry_reason(session.expires_at, session.timeout_at)
        await rows.awrite([_ended(session, reason)])
