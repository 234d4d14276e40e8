"""Session ids in query strings, kept out of the servers' logs.

A browser's EventSource can name a session in the URL only. uvicorn logs the query of the ASGI
scope, so the mount puts the redacted one there and the real one beside it; Daphne logs the
request line as it came, so its log function is wrapped. What else servers log goes through a
filter: gunicorn's and runserver's access logs, and uvicorn's trace.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from copy import copy
from typing import Any, Final
from urllib.parse import unquote_plus

GUIDE_PARAMETER: Final = "session_id"
ENDPOINT_PARAMETER: Final = "sse_session"
"""Where 2024-11-05 clients post: the `endpoint` event's URL names their session by it."""

TOKEN_PARAMETER: Final = "access_token"
"""What RFC 6750 once had for tokens in URLs. It is refused, and logged all the same."""

_CREDENTIALS: Final = {GUIDE_PARAMETER, ENDPOINT_PARAMETER, TOKEN_PARAMETER}
_IN_QUERY: Final = re.compile(
    rf"\b((?:{GUIDE_PARAMETER}|{ENDPOINT_PARAMETER}|{TOKEN_PARAMETER})=)[^&\s\"'\\]+"
)
_IN_HEADER: Final = re.compile(
    r"\b((?:mcp-session-id|x-session-id|last-event-id)['\"]?[:,] ?b?['\"]?)[^'\",\s)]+", re.IGNORECASE
)
_LOGGERS: Final = (
    *("uvicorn.access", "gunicorn.access", "django.server", "django.channels.server"),
    # What `uvicorn --log-level trace` shows of requests and of WebSockets' handshakes.
    *("uvicorn.asgi", "uvicorn.error"),
    # From `daphne -v 2`, where Twisted has an access log of its own.
    "daphne.server",
    # In debug mode, as by `daphne -v 3`, it quotes what is slow.
    "asyncio",
)
"""Of servers: those whose lines quote requests."""


def redact_query(query: str) -> str:
    """The query string with session ids replaced."""
    return "&".join(map(_redact_part, query.split("&")))


def redact_url(url: str) -> str:
    path, mark, query = url.partition("?")
    return path + mark + redact_query(query)


def redact_text(text: str) -> str:
    """The text of a log line with the session ids in its URLs and headers replaced."""
    # Not by templates: for those `re` imports, which it cannot while the interpreter ends.
    return _IN_HEADER.sub(_named_only, _IN_QUERY.sub(_named_only, text))


def _named_only(found: re.Match[str]) -> str:
    return f"{found[1]}redacted"


class RedactingFilter(logging.Filter):
    """Replaces the session ids in what a line quotes of requests. It is on servers' loggers by itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _redact_argument(record.msg)  # Twisted's is an object that says it
        if isinstance(record.args, dict):
            # A copy of gunicorn's atoms, of whatever kind; and never another's own dict.
            shown = copy(record.args)
            shown.update((name, _redact_argument(each)) for name, each in record.args.items())
            record.args = shown
        elif isinstance(record.args, tuple):
            record.args = tuple(map(_redact_argument, record.args))
        return True


def redact_loggers() -> None:
    """Have servers' own loggers write no session ids; twice is once."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, RedactingFilter) for each in logger.filters):
            logger.addFilter(RedactingFilter())


def redact_daphne() -> None:
    """Have Daphne log redacted URLs, if it is what serves; once."""
    daphne: Any = sys.modules.get("daphne.server")
    if daphne is None or hasattr(daphne.Server.log_action, "__wrapped__"):
        return
    original = daphne.Server.log_action

    @functools.wraps(original)
    def log_action(server: Any, protocol: str, action: str, details: dict[str, Any]) -> None:
        redacted = {**details, "path": redact_url(details["path"])} if "path" in details else details
        original(server, protocol, action, redacted)

    daphne.Server.log_action = log_action


def _redact_argument(argument: object) -> object:
    """As it is, if it shows no id: its line may be formatted by its type."""
    if argument is None or isinstance(argument, int | float):
        return argument
    shown = redact_text(text := str(argument))
    return argument if shown == text else shown


def _redact_part(part: str) -> str:
    name, mark, _ = part.partition("=")
    return f"{name}=redacted" if mark and unquote_plus(name) in _CREDENTIALS else part
