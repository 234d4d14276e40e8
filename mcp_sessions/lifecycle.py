"""The life of a session: open, resume, touch, expire, end, purge; and messages to it from anywhere."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.utils import timezone

from mcp_sessions.conf import AppSettings, app_settings
from mcp_sessions.delivery import AWAY_SECONDS, get_hub, warning_notice
from mcp_sessions.exceptions import DuplicateIdentifier, SessionNotFound, StoreUnavailable
from mcp_sessions.identifiers import digest_of, is_key, is_session_id, new_key, new_session_id
from mcp_sessions.records import (
    EndReason,
    SessionRecord,
    Touch,
    expiry,
    flush_interval,
    latest_writing,
    refreshed,
)
from mcp_sessions.runtime import Phase, Runtime, current, run_sync
from mcp_sessions.stores import get_store

LINGER_SECONDS: Final = 0.2
"""How long the first use after a quiet time waits for others to be written with it."""

logger = logging.getLogger("mcp_sessions.lifecycle")


async def open_session(endpoint: str, owner: str, metadata: Mapping[str, Any]) -> tuple[str, SessionRecord]:
    """Store a new session; (its id, which nobody can read from the store again, and the record)."""
    now = timezone.now()
    while True:
        session_id = new_session_id()
        session = SessionRecord(
            key=new_key(),
            digest=digest_of(session_id),
            server=endpoint,
            owner=owner,
            created_at=now,
            last_accessed_at=now,
            expires_at=expiry(now, AppSettings(endpoint).SESSION_TIMEOUT),
            metadata={"requests": 0, "connections": 0, **metadata},
        )
        try:
            await get_store().acreate(session)
        except DuplicateIdentifier:
            # Never the guide's rescue, which hands the other client's session over: draw again.
            continue
        logger.info("session %s opened at %s", session.key, endpoint)
        return session_id, session


async def resume(session_id: str, endpoint: str | None, owner: str) -> SessionRecord:
    """The live session this id opens, for its owner, at this endpoint (None: any). Raises SessionNotFound."""
    if not is_session_id(session_id):
        raise SessionNotFound
    session = await get_store().aload(digest_of(session_id))
    if session is None or not session.is_live(timezone.now()):
        raise SessionNotFound
    if endpoint not in (None, session.server) or session.owner != owner:
        logger.warning("session %s was asked for by somebody else", session.key)
        raise SessionNotFound
    return session


async def find(key_or_id: str) -> SessionRecord:
    """The live session of this key (or id), for code of the project. Raises SessionNotFound."""
    session = await get_store().aload_by_key(key_or_id) if is_key(key_or_id) else None
    if session is None and is_session_id(key_or_id):
        session = await get_store().aload(digest_of(key_or_id))
    if session is None or not session.is_live(timezone.now()):
        raise SessionNotFound
    return session


def touch(session: SessionRecord, *, requests: int = 0, connections: int = 0) -> None:
    """Note that the session was used now. It is written with others within TOUCH_SECONDS."""
    current().service(Touches).note(session, requests, connections)


async def end(key: str, reason: str) -> bool:
    """End a session: its id opens nothing any more, its streams close, its calls are cancelled.

    True for the one caller that ended it.
    """
    has_ended = await get_store().aend(key, timezone.now(), reason)
    if has_ended:
        logger.info("session %s ended: %s", key, reason)
    await get_hub().session_has_ended(key, reason)
    return has_ended


def end_sync(key: str, reason: str) -> bool:
    """`end` for synchronous code."""
    return run_sync(end(key, reason))


def purge() -> int:
    """Delete every session that has ended or expired, in batches; how many (the guide's cleanup_expired).

    With them goes what nobody can ask for any more of the sessions that live.
    """
    purged, batch = 0, app_settings.PURGE_BATCH
    before = timezone.now() - timedelta(seconds=app_settings.EVENT_SECONDS)
    while get_store().sweep(before, batch) > 0:
        pass
    while (count := get_store().purge(timezone.now(), batch)) > 0:
        purged += count
    if purged:
        logger.info("%d sessions purged", purged)
    return purged


def watch(session: SessionRecord) -> None:
    """See to it that the session's open streams end when it expires, and not before."""
    current().service(Watch).watch(session)


class Touches:
    """Uses of sessions that are not written yet."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: dict[str, Touch] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._written_at = -math.inf
        self._is_away = False
        runtime.at_shutdown(Phase.WRITE, self.write)

    def note(self, session: SessionRecord, requests: int, connections: int) -> None:
        options, now = AppSettings(session.server), timezone.now()
        earlier = self._waiting.get(session.key)
        timeout = options.SESSION_TIMEOUT
        ends = refreshed(session.expires_at, now, timeout, options.SESSION_REFRESH_THRESHOLD)
        self._waiting[session.key] = Touch(
            session.key,
            now,
            ends,
            requests + (earlier.requests if earlier else 0),
            connections + (earlier.connections if earlier else 0),
        )
        # The first use after a quiet time is written soon, so that operators see it.
        next_at = self._written_at + flush_interval(options.TOUCH_SECONDS, timeout)
        pause = max(next_at - self._runtime.loop.time(), LINGER_SECONDS)
        self._write_within(min(pause, latest_writing(session.expires_at, now)))

    def _write_within(self, pause: float) -> None:
        at = self._runtime.loop.time() + pause
        if self._timer is not None and self._timer.when() <= at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._runtime.loop.call_at(at, self._write)

    def _write(self) -> None:
        self._timer = None
        self._runtime.spawn(self.write(), "touch")

    async def write(self) -> None:
        waiting, self._waiting = self._waiting, {}
        self._written_at = self._runtime.loop.time()
        if not waiting:
            return
        try:
            await get_store().atouch(list(waiting.values()))
        except StoreUnavailable as error:
            if not self._is_away:
                logger.warning("uses of %d sessions are not written yet: %s", len(waiting), error)
            self._is_away = True
            self._waiting = {**waiting, **self._waiting}
            self._write_within(AWAY_SECONDS)
        else:
            self._is_away = False


class Watch:
    """One timer for each session with open streams: keeps it alive, or warns it and ends it on time.

    An open stream of the specification's clients counts as activity; one of the guide's does
    not, and is told before and at the moment its session ends.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def watch(self, session: SessionRecord, *, is_warned: bool = False) -> None:
        if (timer := self._timers.pop(session.key, None)) is not None:
            timer.cancel()
        look = self._runtime.loop.call_later
        pause = self._get_pause(session, is_warned)
        self._timers[session.key] = look(pause, self._look, session, is_warned)

    def _get_pause(self, session: SessionRecord, is_warned: bool) -> float:
        remaining = max((session.expires_at - timezone.now()).total_seconds(), 0)
        if session.dialect == "specification":
            return remaining / 2
        warning = AppSettings(session.server).SESSION_WARNING_SECONDS
        return remaining if warning is None or is_warned else max(remaining - warning, 0)

    def _look(self, session: SessionRecord, is_warned: bool) -> None:
        self._timers.pop(session.key, None)
        if get_hub().connections.open_streams(session.key):
            self._runtime.spawn(self._look_at(session, is_warned), "watch")

    async def _look_at(self, session: SessionRecord, is_warned: bool) -> None:
        try:
            await self._prolong_or_end(session, is_warned)
        except StoreUnavailable as error:
            logger.warning("session %s: whether it ends is not known yet: %s", session.key, error)
            look = self._runtime.loop.call_later
            self._timers[session.key] = look(AWAY_SECONDS, self._look, session, is_warned)

    async def _prolong_or_end(self, session: SessionRecord, is_warned: bool) -> None:
        if session.dialect == "specification":
            touch(session)
        await self._runtime.service(Touches).write()
        found = await get_store().aload_by_key(session.key)
        if found is None or found.ended_at is not None:
            get_hub().end_session(session.key, found.end_reason if found else EndReason.EXPIRED)
        elif not found.is_live(timezone.now()):
            await end(session.key, EndReason.EXPIRED)
        elif found.expires_at == session.expires_at and found.dialect == "guide" and not is_warned:
            self._warn(found)
            self.watch(found, is_warned=True)
        else:
            self.watch(found)

    def _warn(self, session: SessionRecord) -> None:
        remaining = (session.expires_at - timezone.now()).total_seconds()
        get_hub().connections.notice(session.key, warning_notice(remaining))
