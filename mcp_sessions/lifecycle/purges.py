"""Deletes, batch by batch, sessions that have ended, and unreachable rows of live sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Final

from django.utils import timezone

from mcp_sessions.conf import app_settings
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.lifecycle import summary_rows
from mcp_sessions.lifecycle.endings import expire_some
from mcp_sessions.runtime import current, on_runtime, run_sync
from mcp_sessions.stores import get_store

OnBatch = Callable[[int], None]
"""Called after each batch with the number of sessions that were deleted until then."""

MAX_REST: Final = 1.0

logger = logging.getLogger("mcp_sessions.lifecycle")


@on_runtime
async def apurge(on_batch: OnBatch | None = None) -> int:
    """Delete, in batches, the sessions that ended KEEP_ENDED_SECONDS ago or earlier; how many.

    (The guide's cleanup_expired.) Expired sessions are ended first, and complete hours are counted.
    Unreachable rows of kept sessions are deleted too, and refusals older than KEEP_REFUSALS_SECONDS. Any
    number of processes may purge at once: each session is deleted once, and its signal is sent once. A
    process that is killed leaves the rest to the next purge.
    """
    # Late, here and below: it has models, and the mount is imported before Django's apps are ready.
    from mcp_sessions import analytics

    batch = app_settings.PURGE_BATCH
    await delete_unreachable()
    await aroll_up()
    # Rows of sessions stay for a while. What another store has of ended sessions is deleted at once.
    deletable = await analytics.amake_deletable()
    of_store = deletable if get_store().keeps_rows else timezone.now()
    purged = 0
    if of_store is not None:
        purged = await _in_batches(partial(get_store().apurge, of_store, batch), on_batch)
    if deletable is not None:
        await _in_batches(partial(summary_rows.purge_some, deletable, batch))
    await _in_batches(partial(analytics.apurge_refusals, batch))
    await flush_deferred()
    if purged:
        logger.info("%d sessions purged", purged)
    return purged


def purge(on_batch: OnBatch | None = None) -> int:
    """`apurge` for synchronous code."""
    return run_sync(apurge(on_batch))


async def delete_unreachable() -> None:
    """Delete what is unreachable of live sessions: streams that were left, old notifications."""
    before = timezone.now() - timedelta(seconds=app_settings.EVENT_SECONDS)
    await _in_batches(partial(get_store().adelete_unreachable, before, app_settings.PURGE_BATCH))


@on_runtime
async def aroll_up() -> int:
    """Count complete hours, for aggregates that outlive the sessions; how many.

    An hour can be counted once the sessions have ended whose time ran out in it, so those are ended first.
    """
    from mcp_sessions import analytics

    await _in_batches(_expire_and_signal)
    await _in_batches(partial(summary_rows.correct_some, app_settings.PURGE_BATCH))
    return await analytics.aroll_up()


def roll_up() -> int:
    """`aroll_up` for synchronous code."""
    return run_sync(aroll_up())


async def _expire_and_signal() -> int:
    """A process that is killed has ended at most one batch of sessions without their signals."""
    expired = await expire_some()
    await flush_deferred()
    return expired


async def _in_batches(work: Callable[[], Awaitable[int]], on_batch: OnBatch | None = None) -> int:
    """Do one batch after the other until there is none, or the process stops; how much in all.

    After each it rests for as long as that took: who waits for the same rows meanwhile, or for
    SQLite's one lock, comes next.
    """
    runtime, done = current(), 0
    while not runtime.draining:
        began = runtime.loop.time()
        if not (count := await work()):
            break
        done += count
        if on_batch is not None:
            on_batch(done)
        await asyncio.sleep(min(runtime.loop.time() - began, MAX_REST))
    return done
