"""What the app writes to Python's logging: whose line it is, the events of a session's life, requests."""

from mcp_sessions.logs.events import tell, tell_refusal
from mcp_sessions.logs.failures import Failures
from mcp_sessions.logs.lines import LOGGERS, keep_lines_whole, shown
from mcp_sessions.logs.repeats import due
from mcp_sessions.logs.requests import Trace, note, tracing
from mcp_sessions.logs.sessions import NONE, SessionFilter, about, context_of
from mcp_sessions.logs.showing import show

__all__ = [
    "LOGGERS",
    "NONE",
    "Failures",
    "SessionFilter",
    "Trace",
    "about",
    "context_of",
    "due",
    "keep_lines_whole",
    "note",
    "show",
    "shown",
    "tell",
    "tell_refusal",
    "tracing",
]
