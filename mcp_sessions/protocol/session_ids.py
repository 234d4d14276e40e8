"""Which session a request means: the specification's header, or one of the guide's places.

Source: the specification, "Session Management"; the guide's chapter "Session Middleware"
(extract_session_id).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mcp_sessions.exceptions import SessionConflict
from mcp_sessions.exchange import Exchange
from mcp_sessions.logs import note
from mcp_sessions.security.redaction import ENDPOINT_PARAMETER, GUIDE_PARAMETER

SESSION_HEADER: Final = "mcp-session-id"
GUIDE_HEADER: Final = "x-session-id"


@dataclass(frozen=True, slots=True)
class RequestedId:
    """A session id as a request has it, and by whose rules."""

    session_id: str = field(repr=False)
    by_guide: bool
    by_endpoint: bool = False
    is_sealed: bool = False
    """Whether it came inside an event id, so that who sends it need not know it."""
    named: str = field(default="", repr=False)
    """How the request itself names the session, if by another id: the one it had before a rotation."""

    @property
    def in_clear(self) -> str:
        """The id that the request itself has in clear, "" if none: an answer repeats no other."""
        return self.named if self.is_sealed else self.session_id


def find_session_id(exchange: Exchange) -> RequestedId | None:
    """The session a request names, or None. Raises SessionConflict for two different ones."""
    header = exchange.headers.get(SESSION_HEADER)
    by_endpoint = exchange.query(ENDPOINT_PARAMETER)
    headers = (header or "", exchange.headers.get(GUIDE_HEADER, ""))
    # No id has a comma: of a header that is sent twice these are the two values.
    named = (each.strip() for value in headers for each in value.split(","))
    given = {*named, *by_endpoint, *exchange.query(GUIDE_PARAMETER)} - {""}
    if not given:
        return None
    if len(given) > 1:
        raise SessionConflict
    note(named_by=_place(exchange, by_endpoint))
    return RequestedId(given.pop(), by_guide=not header, by_endpoint=bool(by_endpoint))


def _place(exchange: Exchange, by_endpoint: list[str]) -> str:
    """Where the session was named, for the log."""
    for header in (SESSION_HEADER, GUIDE_HEADER):
        if exchange.headers.get(header):
            return header
    return ENDPOINT_PARAMETER if by_endpoint else GUIDE_PARAMETER
