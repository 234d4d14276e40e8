"""What the app writes to Python's logging: whose line it is, the events of a session's life, requests."""

from mcp_sessions.logs.events import tell
from mcp_sessions.logs.failures import Failures
from mcp_sessions.logs.requests import Trace, note, tracing
from mcp_sessions.logs.sessions import NONE, SessionFilter, about, context_of, speaking_of
from mcp_sessions.logs.showing import show

__all__ = [
    "NONE",
    "Failures",
    "SessionFilter",
    "Trace",
    "about",
    "context_of",
    "note",
    "show",
    "speaking_of",
    "tell",
    "tracing",
]
