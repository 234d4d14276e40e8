"""The events of a session's life, as lines for people and as fields for machines."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from logging import DEBUG, INFO, WARNING
from typing import Any, Final

from mcp_sessions.conf import AppSettings
from mcp_sessions.logs.lines import ONE_LINE
from mcp_sessions.logs.sessions import NONE
from mcp_sessions.records import SessionRecord

Line = tuple[int, str]
"""A level, and a text with fields."""

LINES: Final[Mapping[str, Line]] = {
    "opened": (INFO, "session %(session)s opened at %(server)s"),
    "resumed": (INFO, "session %(session)s: its client came back"),
    "extended": (INFO, "session %(session)s extended until %(until)s"),
    "warned": (INFO, "session %(session)s will expire soon"),
    "expired": (INFO, "session %(session)s expired: %(reason)s"),
    "ended": (INFO, "session %(session)s ended: %(reason)s"),
    "denied": (WARNING, "session %(session)s was asked for by somebody else (%(reason)s)"),
    # These come and go far more often than sessions.
    "connection_opened": (DEBUG, "session %(session)s: a stream was opened"),
    "connection_closed": (DEBUG, "session %(session)s: a stream was closed: %(reason)s"),
}
LIMITS: Final[Mapping[str, Line]] = {
    "replaced": (WARNING, "session %(session)s was replaced by a newer one: a limit is reached"),
    "connections": (INFO, "session %(session)s: its oldest stream is closed, a limit is reached"),
    "principal": (WARNING, "a session of %(address)s was refused: MAX_SESSIONS_PER_CLIENT is reached"),
    "server": (WARNING, "a session of %(address)s was refused: MAX_SESSIONS is reached"),
}
"""`limit_reached`, by its reason."""
REFUSED_TEXT: Final = (
    "%(address)s: %(count)d requests were refused by the %(reason)s limit, session %(session)s"
)
REFUSED: Final = frozenset({"principal", "server"})
"""Reasons for which a session was never stored, so that its key names nothing."""


def tell(event: str, session: SessionRecord, reason: str = "", **details: Any) -> None:
    """Log an event of a session's life to SESSION_LOGGER.

    The record has `mcp_event`, `mcp_session`, `mcp_server` and `mcp_reason`; `details` are for the
    text alone.
    """
    level, text = LIMITS[reason] if event == "limit_reached" else LINES[event]
    logger = logging.getLogger(AppSettings(session.server).SESSION_LOGGER)
    logger.addFilter(ONE_LINE)  # the project may have named another; twice is once
    if not logger.isEnabledFor(level):
        return
    key = NONE if event == "limit_reached" and reason in REFUSED else session.key
    address = session.metadata.get("address") or "?"
    fields = {"session": key, "server": session.server, "reason": reason, "address": address, **details}
    extra = {"mcp_event": event, "mcp_session": key, "mcp_server": session.server, "mcp_reason": reason}
    logger.log(level, text, fields, extra=extra)


def tell_refused(server: str, reason: str, address: str, session_key: str | None, count: int) -> None:
    """Log that requests were refused by a limit, which the reason names: the event `refused`."""
    logger = logging.getLogger(AppSettings(server).SESSION_LOGGER)
    logger.addFilter(ONE_LINE)
    key = session_key or NONE
    fields = {"address": address or "?", "reason": reason, "count": count, "session": key}
    extra = {"mcp_event": "refused", "mcp_session": key, "mcp_server": server, "mcp_reason": reason}
    logger.log(WARNING, REFUSED_TEXT, fields, extra={**extra, "mcp_count": count})
