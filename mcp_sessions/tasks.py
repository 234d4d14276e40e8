"""Celery tasks. Celery only sweeps up: an expired session is refused whether or not this has run."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from mcp_sessions.conf import app_settings

PURGE = "mcp_sessions.purge_expired_sessions"


@shared_task(name=PURGE, ignore_result=True)
def purge_expired_sessions() -> int:
    """Delete the sessions that have expired or ended; returns how many."""
    # Late: beat reads the schedule below before Django's apps are loaded.
    from mcp_sessions import lifecycle

    return lifecycle.purge()


def beat_schedule() -> dict[str, dict[str, Any]]:
    """What to add to `app.conf.beat_schedule`: the purge, every SESSION_CLEANUP_INTERVAL seconds."""
    interval = app_settings.SESSION_CLEANUP_INTERVAL
    entry = {
        "task": PURGE,
        "schedule": interval,
        # While no worker runs, purges do not pile up: one that was not done in time is not done.
        "options": {"expires": interval},
    }
    return {"mcp-sessions-purge": entry}
