"""From the signals to the methods of SessionMetrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.core.signals import setting_changed
from django.dispatch import Signal
from django.utils import timezone

from mcp_sessions import signals
from mcp_sessions.conf import problems
from mcp_sessions.metrics.base import SessionMetrics
from mcp_sessions.metrics.loading import chosen, forget_metrics, get_made, get_metrics
from mcp_sessions.records import Refusal, SessionRecord

Record = Callable[[SessionMetrics, Any, str], None]
"""It is given the session, or the refusal, and the reason."""

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
    signals.session_rotated: lambda metrics, *values: metrics.record_session_rotated(*values),
    signals.session_limit_reached: lambda metrics, *values: metrics.record_limit_reached(*values),
    signals.connection_opened: lambda metrics, session, _: metrics.record_connection_established(session),
    signals.connection_closed: lambda metrics, *values: metrics.record_connection_closed(*values),
    signals.request_refused: lambda metrics, refusal, _: metrics.record_requests_refused(refusal),
}


class Recording:
    """A receiver of every signal for one entry of SESSION_METRICS, so that none stops the others."""

    def __init__(self, place: int, name: str) -> None:
        self._place = place
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __call__(
        self,
        signal: Signal,
        session: SessionRecord | None,
        reason: str,
        refusal: Refusal | None = None,
        **_: Any,
    ) -> None:
        if (metrics := self._metrics()) is not None:
            RECORDS[signal](metrics, refusal or session, reason)

    def count(self, count: int) -> None:
        """So many sessions live."""
        if (metrics := self._metrics()) is not None:
            metrics.record_active_count(count)

    def _metrics(self) -> SessionMetrics | None:
        made = get_made()
        return made[self._place].metrics if self._place < len(made) else None


_connected: list[Recording] = []


def listen() -> None:
    """Have the signals recorded if SESSION_METRICS names somebody; else none has a receiver of ours."""
    entries = [] if problems() else chosen()
    for place in range(len(_connected)):
        for signal in RECORDS:
            signal.disconnect(dispatch_uid=(__name__, place))
    _connected[:] = [Recording(place, str(entry["BACKEND"])) for place, entry in enumerate(entries)]
    for place, recording in enumerate(_connected):
        for signal in RECORDS:
            signal.connect(recording, weak=False, dispatch_uid=(__name__, place))


def recordings() -> Sequence[Recording]:
    """What is connected to the signals."""
    return tuple(_connected)


def wants_active_count() -> bool:
    """Whether any receiver wants the number of live sessions."""
    return any(
        type(each).record_active_count is not SessionMetrics.record_active_count for each in get_metrics()
    )


def _follow_settings(*, setting: str, **_: object) -> None:
    if setting == "MCP_SESSIONS":
        forget_metrics()
        listen()


setting_changed.connect(_follow_settings)
