"""Durable sessions for MCP servers, on Django's ORM."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mcp_sessions.exceptions import (
        AccessDenied,
        AuthenticationUnavailable,
        ConfigurationError,
        CredentialRequired,
        CrossSiteRequest,
        DuplicateIdentifier,
        InsufficientScope,
        InvalidCredential,
        InvalidSessionData,
        LeaseLost,
        LimitReached,
        MalformedCredential,
        MCPSessionsError,
        NestedEdit,
        NoSession,
        RateLimited,
        RequestError,
        RotationRefused,
        SessionBusy,
        SessionConflict,
        SessionDenied,
        SessionEnded,
        SessionNotFound,
        StoreBusy,
        StoreNotMigrated,
        StoreUnavailable,
        TooManyPendingRequests,
        UnreadableData,
    )
    from mcp_sessions.lifecycle import (
        SessionManager,
        aend_session,
        aend_sessions_of,
        aextend_session,
        ainspect_session,
        arotate_session,
        end_session,
        end_sessions_of,
        extend_session,
        inspect_session,
        rotate_session,
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
    from mcp_sessions.routing import mount
    from mcp_sessions.security.requirements import requires
    from mcp_sessions.signals import (
        connection_closed,
        connection_opened,
        request_refused,
        session_created,
        session_ended,
        session_expired,
        session_limit_reached,
        session_resumed,
        session_rotated,
        session_warned,
    )
    from mcp_sessions.state import (
        Session,
        aget_user,
        aload_session,
        get_principal,
        get_session,
        get_user,
        load_session,
        once,
    )

__all__ = [
    "AccessDenied",
    "AuthenticationUnavailable",
    "ConfigurationError",
    "CredentialRequired",
    "CrossSiteRequest",
    "DuplicateIdentifier",
    "InsufficientScope",
    "InvalidCredential",
    "InvalidSessionData",
    "LeaseLost",
    "LimitReached",
    "MCPSessionsError",
    "MalformedCredential",
    "NestedEdit",
    "NoSession",
    "RateLimited",
    "RequestError",
    "RotationRefused",
    "Session",
    "SessionBusy",
    "SessionConflict",
    "SessionDenied",
    "SessionEnded",
    "SessionEventManager",
    "SessionManager",
    "SessionNotFound",
    "StoreBusy",
    "StoreNotMigrated",
    "StoreUnavailable",
    "TooManyPendingRequests",
    "UnreadableData",
    "aend_session",
    "aend_sessions_of",
    "aextend_session",
    "aget_user",
    "ainspect_session",
    "aload_session",
    "arotate_session",
    "asend_notification",
    "asend_notification_to_all",
    "asend_resource_updated",
    "asend_session_message",
    "connection_closed",
    "connection_opened",
    "end_session",
    "end_sessions_of",
    "extend_session",
    "get_principal",
    "get_session",
    "get_user",
    "inspect_session",
    "load_session",
    "mount",
    "once",
    "request_refused",
    "requires",
    "rotate_session",
    "send_notification",
    "send_notification_to_all",
    "send_resource_updated",
    "send_session_message",
    "session_created",
    "session_ended",
    "session_expired",
    "session_limit_reached",
    "session_resumed",
    "session_rotated",
    "session_warned",
]

__version__ = "0.1.0"

_MODULES: Final = (
    "exceptions",
    "signals",
    "state",
    "lifecycle",
    "messages",
    "routing",
    "security.requirements",
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for.

    Django imports this package before its apps are ready, and who needs a signal need not import the server.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    modules = (import_module(f"{__name__}.{module}") for module in _MODULES)
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def __dir__() -> list[str]:
    return __all__
