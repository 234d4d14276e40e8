"""From the signals to the methods of SessionMetrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from django.core.signals import setting_changed
from django.dispatch import Signal
from django.utils import timezone

from mcp_sessions import signals
from mcp_sessions.conf import problems
from mcp_sessions.metrics.base import SessionMetrics
from mcp_sessions.metrics.loading import chosen, forget_metrics, get_metrics
from mcp_sessions.records import SessionRecord

Record = Callable[[SessionMetrics, SessionRecord, str], None]

logger = logging.getLogger("mcp_sessions.metrics")


def _expired(metrics: SessionMetrics, session: SessionRecord, reason: str) -> None:
    metrics.record_session_expired(session, _seconds(session, session.expires_at), reason)


def _ended(metrics: SessionMetrics, session: SessionRecord, reason: str) -> None:
    # Of one that ended while the store went away only what it was before is known.
    metrics.record_session_ended(session, _seconds(session, session.ended_at or timezone.now()), reason)


def _seconds(session: SessionRecord, end: datetime) -> float:
    return max((end - session.created_at).total_seconds(), 0.0)


RECORDS: Final[Mapping[Signal, Record]] = {
    signals.session_created: lambda metrics, session, _: metrics.record_session_created(session),
    signals.session_resumed: lambda metrics, session, _: metrics.record_session_resumed(session),
    signals.session_warned: lambda metrics, session, _: metrics.record_session_warned(session),
    signals.session_expired: _expired,
    signals.session_ended: _ended,
    signals.session_limit_reached: lambda metrics, *told: metrics.record_limit_reached(*told),
    signals.connection_opened: lambda metrics, session, _: metrics.record_connection_established(session),
    signals.connection_closed: lambda metrics, *told: metrics.record_connection_closed(*told),
}


def listen() -> None:
    """Have the signals recorded if SESSION_METRICS names somebody; else none has a receiver of ours."""
    is_on = not problems() and bool(chosen())
    for signal, way in RECORDS.items():
        if is_on:
            signal.connect(_recording(way), weak=False, dispatch_uid=__name__)
        else:
            signal.disconnect(dispatch_uid=__name__)


def _recording(way: Record) -> Callable[..., None]:
    # A function, and no partial: Django logs a receiver that fails by its __qualname__.
    def hear(session: SessionRecord, reason: str, **_: Any) -> None:
        record(f"session {session.key}", lambda metrics: way(metrics, session, reason))

    return hear


def record(what: str, tell: Callable[[SessionMetrics], None]) -> None:
    """Tell each of the process's receivers, whatever comes of the others."""
    for metrics in get_metrics():
        try:
            tell(metrics)
        except Exception:
            logger.exception("%s: %s failed", what, type(metrics).__name__)


def wants_active_count() -> bool:
    """Whether any receiver is to be told how many sessions live."""
    return any(
        type(each).record_active_count is not SessionMetrics.record_active_count for each in get_metrics()
    )


def _follow_settings(*, setting: str, **_: object) -> None:
    if setting == "MCP_SESSIONS":
        forget_metrics()
        listen()


setting_changed.connect(_follow_settings)
