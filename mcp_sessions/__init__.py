"""Durable sessions for MCP servers, on Django's ORM."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_sessions.lifecycle import (
        SessionManager,
        aend_session,
        aextend_session,
        ainspect_session,
        end_session,
        extend_session,
        inspect_session,
    )
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
    from mcp_sessions.state import aload_session, get_session, load_session

__all__ = [
    "SessionEventManager",
    "SessionManager",
    "aend_session",
    "aextend_session",
    "ainspect_session",
    "aload_session",
    "asend_notification",
    "asend_notification_to_all",
    "asend_resource_updated",
    "asend_session_message",
    "end_session",
    "extend_session",
    "get_session",
    "inspect_session",
    "load_session",
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
    rooms = [import_module(f"{__name__}.{room}") for room in ("lifecycle", "messages", "state")]
    return next(getattr(room, name) for room in rooms if hasattr(room, name))
