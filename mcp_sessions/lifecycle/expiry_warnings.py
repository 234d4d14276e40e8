"""Signals of sessions that will expire soon, also of those whose client no worker can reach.

Workers warn the clients whose streams they have, on time (`expiry_watch`). This sends the signal for the
sessions that no worker has warned.
"""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from mcp_sessions.completion import completed
from mcp_sessions.conf import AppSettings, app_settings, served_paths
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import on_runtime, run_sync
from mcp_sessions.signal_queue import queue_signal
from mcp_sessions.signals import session_warned
from mcp_sessions.stores import get_store


@on_runtime
async def awarn_expiring() -> int:
    """Send `session_warned` for the sessions that expire within SESSION_WARNING_SECONDS; for how many.

    Once for each end of a session, however many processes do it and whether its client was warned
    by one of them. Without receivers nothing is done.
    """
    if not session_warned.has_listeners(SessionRecord):
        return 0
    within = {path: AppSettings(path).SESSION_WARNING_SECONDS for path in served_paths()}
    warned = [await _warn_at(path, seconds) for path, seconds in within.items() if seconds is not None]
    await flush_deferred()
    return sum(warned)


def warn_expiring() -> int:
    """`awarn_expiring` for synchronous code, whose process may be over soon."""
    return run_sync(awarn_expiring())


async def _warn_at(path: str, seconds: float) -> int:
    store, now, warned = get_store(), timezone.now(), 0
    before = now + timedelta(seconds=seconds)
    while batch := await store.aexpiring(path, now, before, app_settings.PURGE_BATCH):
        warned += sum([await warn_once(session) for session in batch])
    return warned


@completed
async def warn_once(session: SessionRecord) -> bool:
    """Send the signal for this end of the session, unless somebody did. Whether it was sent."""
    is_first = await get_store().awarn(session.key, session.expires_at)
    if is_first:
        queue_signal(session_warned, session, "expiring")
    return is_first
