"""Celery tasks. They only clean up: an expired session is refused whether or not they have run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import shared_task
from celery.schedules import crontab

from mcp_sessions.conf import AppSettings, app_settings

WARN = "mcp_sessions.warn_expiring_sessions"
PURGE = "mcp_sessions.purge_expired_sessions"
ANALYTICS = "mcp_sessions.compute_session_analytics"


@shared_task(name=PURGE, ignore_result=True)
def purge_expired_sessions() -> int:
    """Delete the sessions that have expired or ended; returns how many."""
    # Late, here and below: beat reads the schedule before Django's apps are loaded.
    from mcp_sessions import lifecycle

    return _if_within_reach(lifecycle.purge)


@shared_task(name=WARN, ignore_result=True)
def warn_expiring_sessions() -> int:
    """Send `session_warned` for the sessions that will expire soon; returns for how many."""
    from mcp_sessions import lifecycle

    return _if_within_reach(lifecycle.warn_expiring)


@shared_task(name=ANALYTICS, ignore_result=True)
def compute_session_analytics() -> int:
    """Count the hours that are over, for figures that outlive the sessions; returns how many."""
    from mcp_sessions import lifecycle

    return _if_within_reach(lifecycle.roll_up)


def _if_within_reach(work: Callable[[], int]) -> int:
    """What a server has in its memory it looks after by itself: here nobody knows what lives there."""
    from mcp_sessions.stores import get_store

    return work() if get_store().shared_by_processes else 0


def beat_schedule() -> dict[str, dict[str, Any]]:
    """What to add to `app.conf.beat_schedule`: the tasks that purge sessions, warn of expiry and count hours.

    Each runs as often as the settings say.
    """
    interval = app_settings.SESSION_CLEANUP_INTERVAL
    schedule = {"mcp-sessions-purge": _every(interval, PURGE), "mcp-sessions-analytics": _hourly(ANALYTICS)}
    if warnings := _warning_seconds():
        schedule["mcp-sessions-warn"] = _every(min(interval, min(warnings) / 2), WARN)
    return schedule


def _every(seconds: float, task: str) -> dict[str, Any]:
    # While no worker runs, tasks do not pile up: one that was not done in time is not done.
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}


def _hourly(task: str) -> dict[str, Any]:
    # An hour can be counted when it is five minutes past.
    return {"task": task, "schedule": crontab(minute=6), "options": {"expires": 3600}}


def _warning_seconds() -> list[float]:
    """Of all endpoints that warn; to look twice within the shortest finds every session in time."""
    chosen = (AppSettings(path).SESSION_WARNING_SECONDS for path in (None, *app_settings.SERVERS))
    return [seconds for seconds in chosen if seconds is not None]
