"""The events of a session's life, as lines for people and as fields for machines."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from logging import DEBUG, INFO, WARNING
from typing import Any, Final

from mcp_sessions.conf import AppSettings
from mcp_sessions.logs.failures import is_power_of_ten
from mcp_sessions.logs.lines import ONE_LINE
from mcp_sessions.logs.repeats import repeats
from mcp_sessions.logs.sessions import NONE
from mcp_sessions.records import Refusal, SessionRecord

Line = tuple[int, str]
"""A level, and a text with fields."""

LINES: Final[Mapping[str, Line]] = {
    "opened": (INFO, "session %(session)s opened at %(server)s"),
    "resumed": (INFO, "session %(session)s: its client came back"),
    "extended": (INFO, "session %(session)s extended until %(until)s"),
    "warned": (INFO, "session %(session)s will expire soon"),
    "expired": (INFO, "session %(session)s expired: %(reason)s"),
    "ended": (INFO, "session %(session)s ended: %(reason)s"),
    "mismatch": (
        WARNING,
        "session %(session)s is used from %(address)s with another %(reason)s than it was opened with",
    ),
    "rotated": (INFO, "session %(session)s has a new id: %(reason)s; owner %(owner)s, address %(address)s"),
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
REPEATED: Final = frozenset({"mismatch"})
"""Events that one client may cause at each request: their lines are counted, and not repeated."""
REFUSED: Final = frozenset({"principal", "server"})
"""Reasons for which a session was never stored, so that its key names nothing."""
USUAL: Final = frozenset({"not_authenticated"})
"""Reasons for which requests are refused in the course of things."""
WHOSE: Final = "from %(mcp_address)s at %(mcp_server)s, owner %(mcp_owner)s, session %(mcp_session)s"
REFUSED_ONCE: Final = f"request refused: %(mcp_reason)s, {WHOSE}"
REFUSED_AGAIN: Final = f"%(mcp_count)d more requests refused: %(mcp_reason)s, {WHOSE}"


def tell(event: str, session: SessionRecord, reason: str = "", **details: Any) -> None:
    """Log an event of a session's life to SESSION_LOGGER.

    The record has `mcp_event`, `mcp_session`, `mcp_server` and `mcp_reason`; `details` are for the
    text alone. Of REPEATED events the first has a line, and then the tenth, the hundredth…
    """
    level, text = LIMITS[reason] if event == "limit_reached" else LINES[event]
    logger = _logger_of(session.server)
    if not logger.isEnabledFor(level):
        return
    if event in REPEATED and (count := repeats.add((event, session.key, reason))) > 1:
        if not is_power_of_ten(count):
            return
        text = f"{text}, {count} times by now"
    key = NONE if event == "limit_reached" and reason in REFUSED else session.key
    address = session.metadata.get("address") or "?"
    about = {"session": key, "server": session.server, "reason": reason}
    fields = {**about, "address": address, "owner": session.owner or NONE, **details}
    extra = {"mcp_event": event, "mcp_session": key, "mcp_server": session.server, "mcp_reason": reason}
    logger.log(level, text, fields, extra=extra)


def tell_refusal(refusal: Refusal) -> None:
    """Log requests that were refused for security to SESSION_LOGGER: the first one, or a count of repeats.

    The record has `mcp_event` ("refused"), `mcp_session`, `mcp_server`, `mcp_reason`, `mcp_owner`,
    `mcp_address` and `mcp_count`.
    """
    extra = {
        "mcp_event": "refused",
        "mcp_session": refusal.key or NONE,
        "mcp_server": refusal.server,
        "mcp_reason": refusal.reason,
        "mcp_owner": refusal.owner or NONE,
        "mcp_address": refusal.address or "?",
        "mcp_count": refusal.count,
    }
    # A client without a credential asks for one in this way: that alone is no attack.
    level = INFO if refusal.reason in USUAL else WARNING
    _logger_of(refusal.server).log(
        level, REFUSED_ONCE if refusal.count == 1 else REFUSED_AGAIN, extra, extra=extra
    )


def _logger_of(endpoint: str) -> logging.Logger:
    logger = logging.getLogger(AppSettings(endpoint).SESSION_LOGGER)
    logger.addFilter(ONE_LINE)  # the project may have named another; twice is once
    return logger
