"""Durable sessions for MCP servers, on Django's ORM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_sessions.messages import (
        SessionEventManager,
        asend_notification,
        asend_notification_to_all,
        asend_resource_updated,
        asend_session_message,
        send_notification,
        send_notification_to_all,
        send_resource_updated,
        send_session_message,
    )
    from mcp_sessions.state import get_session

__all__ = [
    "SessionEventManager",
    "asend_notification",
    "asend_notification_to_all",
    "asend_resource_updated",
    "asend_session_message",
    "get_session",
    "send_notification",
    "send_notification_to_all",
    "send_resource_updated",
    "send_session_message",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The public names, imported late: Django imports this package before its apps are ready."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mcp_sessions import messages, state

    return getattr(state if name == "get_session" else messages, name)
