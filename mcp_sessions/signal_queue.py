"""What happens to sessions is logged at once and sent as signals soon: no receiver holds up a request."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from django.dispatch import Signal

from mcp_sessions import signals
from mcp_sessions.deferred import defer
from mcp_sessions.logs import tell
from mcp_sessions.receivers import deliver
from mcp_sessions.records import SessionRecord

EVENTS: Final = {
    signals.session_created: "opened",
    signals.session_resumed: "resumed",
    signals.session_warned: "warned",
    signals.session_expired: "expired",
    signals.session_ended: "ended",
    signals.session_rotated: "rotated",
    signals.session_limit_reached: "limit_reached",
    signals.connection_opened: "connection_opened",
    signals.connection_closed: "connection_closed",
}
"""The event in the log line of each signal."""


def queue_signal(signal: Signal, session: SessionRecord, reason: str, **more: Any) -> None:
    """Log it, and send the signal soon, after those before it. Call this on the runtime's loop."""
    tell(EVENTS[signal], session, reason)
    if signal.has_listeners(SessionRecord):
        arguments = {"session": session, "reason": reason, **more}
        defer(f"a signal of session {session.key} ({reason})", partial(deliver, signal, session, arguments))
