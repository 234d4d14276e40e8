"""Session ids in query strings, kept out of the servers' access logs.

A browser's EventSource can name a session in the URL only. uvicorn logs the query of the ASGI
scope, so the mount puts the redacted one there and the real one beside it; Daphne logs the
request line as it came, so its log function is wrapped.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Final
from urllib.parse import unquote_plus

GUIDE_PARAMETER: Final = "session_id"
ENDPOINT_PARAMETER: Final = "sse_session"
"""Where 2024-11-05 clients post: the `endpoint` event's URL names their session by it."""

_CREDENTIALS: Final = {GUIDE_PARAMETER, ENDPOINT_PARAMETER}


def redact_query(query: str) -> str:
    """The query string with session ids replaced."""
    return "&".join(map(_redact_part, query.split("&")))


def redact_url(url: str) -> str:
    path, mark, query = url.partition("?")
    return path + mark + redact_query(query)


def redact_daphne() -> None:
    """Have Daphne log redacted URLs, if it is what serves; once."""
    daphne: Any = sys.modules.get("daphne.server")
    if daphne is None or hasattr(daphne.Server.log_action, "__wrapped__"):
        return
    original = daphne.Server.log_action

    @functools.wraps(original)
    def log_action(server: Any, protocol: str, action: str, details: dict[str, Any]) -> None:
        told = {**details, "path": redact_url(details["path"])} if "path" in details else details
        original(server, protocol, action, told)

    daphne.Server.log_action = log_action


def _redact_part(part: str) -> str:
    name, mark, _ = part.partition("=")
    return f"{name}=redacted" if mark and unquote_plus(name) in _CREDENTIALS else part
