"""The session of a log line: each record has its session's key, from the caller or from the context."""

from __future__ import annotations

import logging
from contextvars import Context, ContextVar, copy_context
from typing import Final

from mcp_sessions.records import SessionRecord

NONE: Final = "-"

_session: ContextVar[SessionRecord | None] = ContextVar("mcp_session_of_lines", default=None)


class SessionFilter(logging.Filter):
    """Gives records `mcp_session`, a session's key, and `mcp_server`, its endpoint's path; else "-".

    For a handler's `filters` in LOGGING: handlers run where a line is logged, in the context of the
    call. (A logger's own filters do not see the lines of loggers below it.)
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "mcp_session"):
            session = _session.get()
            record.mcp_session = session.key if session else NONE
            record.mcp_server = session.server if session else NONE
        elif not hasattr(record, "mcp_server"):
            record.mcp_server = NONE
        return True


def about(key: str) -> dict[str, str]:
    """`extra` of a line about the session with this key, wherever it is logged."""
    return {"mcp_session": key}


def context_of(session: SessionRecord | None) -> Context:
    """This context, in which lines are logged for that session, or for none.

    A task's threads, and the tasks that it starts, have its context too: so what a call sets off for
    others is begun in that of none.
    """
    context = copy_context()
    context.run(_session.set, session)
    return context
