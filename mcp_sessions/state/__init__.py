"""What a session keeps: for tools, for the rest of the project, and for a request's views."""

from mcp_sessions.state.requests import RequestSession
from mcp_sessions.state.sessions import (
    SessionState,
    aload_session,
    current_session,
    get_session,
    load_session,
)

__all__ = [
    "RequestSession",
    "SessionState",
    "aload_session",
    "current_session",
    "get_session",
    "load_session",
]
