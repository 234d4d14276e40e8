"""Summary rows: one row a session in the database where another store has the sessions, for operators.

A row is written when its session opens, and when it ends: in batches, and in nobody's way. While one
transaction runs, what comes is collected for the next. Signals do not wait for rows. The purge makes good
what was missed, because a process was killed or a session has lived longer than its row says.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final, TypeVar

from django.utils import timezone

from mcp_sessions.background import Coalesced
from mcp_sessions.deferred import flush_with_deferred
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.lifetimes import expiry_reason
from mcp_sessions.logs import about
from mcp_sessions.records import EndReason, SessionRecord, Touch
from mcp_sessions.runtime import Phase, Runtime, current
from mcp_sessions.stores import get_rows, get_store
from mcp_sessions.stores.rows import SessionRows

BATCH: Final = 200
"""Rows of one transaction."""
MAX_WAITING: Final = 10_000
"""Rows that may wait; past it what comes is given up."""

T = TypeVar("T")

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


class RowWriter:
    """What waits to be written, by the keys of sessions."""

    def __init__(self, runtime: Runtime) -> None:
        self._sessions: dict[str, SessionRecord] = {}
        self._uses: dict[str, Touch] = {}
        self._given_up = 0
        self._writing = Coalesced(
            runtime, "rows of sessions", self._write_all, finish_in=Phase.TELL, unfinished=self._count
        )
        flush_with_deferred(self._writing.flush)

    def write(self, session: SessionRecord) -> None:
        """Have its row say soon what the session says now."""
        self._put(self._sessions, session.key, session)

    def use(self, touch: Touch) -> None:
        """Have the row of a session that has ended count a use from before soon."""
        self._put(self._uses, touch.key, touch)

    def _put(self, waiting: dict[str, T], key: str, item: T) -> None:
        if key not in waiting and len(self._sessions) + len(self._uses) >= MAX_WAITING:
            self._give_up()
            return
        waiting[key] = item
        self._writing.request()

    def _give_up(self) -> None:
        if not self._given_up:
            logger.error("rows of sessions are given up: %d wait to be written", MAX_WAITING)
        self._given_up += 1

    def _count(self) -> str:
        return f"{len(self._sessions) + len(self._uses)} rows of sessions"

    async def _write_all(self) -> None:
        while (self._sessions or self._uses) and (rows := get_rows()) is not None:
            if self._sessions:
                await _write(rows.awrite, self._sessions)
            else:
                await _write(rows.atouch, self._uses)
        if self._given_up:
            logger.error("%d rows of sessions were given up", self._given_up)
            self._given_up = 0


async def _write(store: Callable[[Sequence[T]], Awaitable[object]], waiting: dict[str, T]) -> None:
    """Write the first batch of what waits; what has changed meanwhile waits on."""
    batch = dict(islice(waiting.items(), BATCH))
    try:
        await store(list(batch.values()))
    except StoreUnavailable:
        raise
    except Exception:
        # One of them cannot be written: that is no reason to give up the others.
        for key, item in batch.items():
            await _write_one(store, key, item)
    for key, item in batch.items():
        if waiting.get(key) is item:
            del waiting[key]


async def _write_one(store: Callable[[Sequence[T]], Awaitable[object]], key: str, item: T) -> None:
    try:
        await store([item])
    except StoreUnavailable:
        raise
    except Exception:
        logger.exception("the row of session %s cannot be written", key, extra=about(key))
