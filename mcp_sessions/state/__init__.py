"""What a session keeps: for tools, for the rest of the project, and for a request's views."""

from mcp_sessions.state.callers import aget_user, current_principal, get_principal, get_user
from mcp_sessions.state.once_declarations import Once, declarations, name_of, once, once_of
from mcp_sessions.state.parameters import RequestedSession, session_parameters
from mcp_sessions.state.requests import RequestSession
from mcp_sessions.state.sessions import (
    Session,
    SessionState,
    aload_session,
    current_session,
    get_session,
    load_session,
)

__all__ = [
    "Once",
    "RequestSession",
    "RequestedSession",
    "Session",
    "SessionState",
    "aget_user",
    "aload_session",
    "current_principal",
    "current_session",
    "declarations",
    "get_principal",
    "get_session",
    "get_user",
    "load_session",
    "name_of",
    "once",
    "once_of",
    "session_parameters",
]
