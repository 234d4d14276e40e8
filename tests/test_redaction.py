"""No log of a server has a session id, whichever way it was named and whatever formats the line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest
from gunicorn.glogging import SafeAtoms
from twisted.logger._stdlib import StringifiableFromEvent
from uvicorn.logging import AccessFormatter

from mcp_sessions.security.redaction import RedactingFilter, redact_loggers, redact_query, redact_text

ID: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
URL: Final = f"/mcp?a=1&session_id={ID}&b=2"
SHOWN: Final = "/mcp?a=1&session_id=redacted&b=2"


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What the loggers of servers write."""
    handler = Kept()
    names = (
        "uvicorn.access",
        "uvicorn.asgi",
        "uvicorn.error",
        "gunicorn.access",
        "django.server",
        "daphne.server",
        "asyncio",
    )
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    for logger, _ in before:
        logger.addHandler(handler)
        logger.setLevel(1)
    yield handler
    for logger, level in before:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_uvicorns_access_log(kept: Kept) -> None:
    kept.setFormatter(AccessFormatter('%(client_addr)s "%(request_line)s" %(status_code)s', use_colors=False))
    logging.getLogger("uvicorn.access").info(
        '%s - "%s %s HTTP/%s" %d', "192.0.2.1:5", "POST", URL, "1.1", 200
    )
    assert kept.lines == [f'192.0.2.1:5 "POST {SHOWN} HTTP/1.1" 200 OK']


def test_gunicorns_access_log(kept: Kept) -> None:
    atoms = SafeAtoms({"r": f"POST {URL} HTTP/1.1", "q": f"sse_session={ID}", "s": 200, "{x}i": None})
    logging.getLogger("gunicorn.access").info("%(r)s %(q)s %(s)s %({nothing}i)s", atoms)
    assert kept.lines == [f"POST {SHOWN} HTTP/1.1 sse_session=redacted 200 -"]


def test_runservers_log(kept: Kept) -> None:
    logging.getLogger("django.server").info('"%s" %s %s', f"GET {URL} HTTP/1.1", "200", "5")
    assert kept.lines == [f'"GET {SHOWN} HTTP/1.1" 200 5']


def test_twisteds_access_log_under_daphne(kept: Kept) -> None:
    text = f'"192.0.2.1" - - [now] "POST {URL} HTTP/1.1" 202 - "-" "-"'
    event = {"log_format": "{log_text}", "log_text": text}
    logging.getLogger("daphne.server").info(StringifiableFromEvent(event))
    assert kept.lines == [f'"192.0.2.1" - - [now] "POST {SHOWN} HTTP/1.1" 202 - "-" "-"']


def test_uvicorns_trace(kept: Kept) -> None:
    scope: dict[str, Any] = {"query_string": f"session_id={ID}".encode(), "headers": "<...>"}
    logging.getLogger("uvicorn.asgi").log(5, "%s [%d] Started scope=%s", "192.0.2.1:5 - ASGI", 1, scope)
    assert kept.lines == [
        "192.0.2.1:5 - ASGI [1] Started scope={'query_string': b'session_id=redacted', 'headers': '<...>'}"
    ]


def test_what_uvicorn_shows_of_a_websockets_handshake(kept: Kept) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.debug("< GET %s HTTP/1.1", URL)
    logger.debug("< %s", f"X-Session-ID: {ID}")
    assert kept.lines == [f"< GET {SHOWN} HTTP/1.1", "< X-Session-ID: redacted"]


def test_what_asyncio_quotes_in_debug_mode(kept: Kept) -> None:
    scope = {"headers": [(b"mcp-session-id", ID.encode()), (b"x", b"y")]}
    logging.getLogger("asyncio").warning("Executing %s took %.3f seconds", scope, 0.5)
    assert kept.lines == [
        "Executing {'headers': [(b'mcp-session-id', b'redacted'), (b'x', b'y')]} took 0.500 seconds"
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Mcp-Session-Id: {ID}", "Mcp-Session-Id: redacted"),
        (f"'X-Session-ID': '{ID}'", "'X-Session-ID': 'redacted'"),
        (f"?sse_session={ID} HTTP", "?sse_session=redacted HTTP"),
        ("django_session_id=x", "django_session_id=x"),
        ("session_id of nobody, 100%", "session_id of nobody, 100%"),
    ],
)
def test_what_is_taken_for_an_id(text: str, shown: str) -> None:
    assert redact_text(text) == shown


def test_a_line_without_ids_is_as_it_was() -> None:
    args = ("text", 1, None, ["list"])
    record = logging.LogRecord("a", logging.INFO, "", 1, "%s %s %s %s", args, None)
    assert RedactingFilter().filter(record)
    assert record.args == args


def test_what_is_logged_stays_as_it_is() -> None:
    scope = {"query": f"session_id={ID}"}
    record = logging.LogRecord("a", logging.INFO, "", 1, "%(query)s", (scope,), None)
    assert RedactingFilter().filter(record)
    assert (record.getMessage(), scope) == ("session_id=redacted", {"query": f"session_id={ID}"})


def test_a_logger_is_filtered_once() -> None:
    redact_loggers()
    redact_loggers()
    filters = logging.getLogger("uvicorn.access").filters
    assert [type(each) for each in filters].count(RedactingFilter) == 1


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ""),
        (f"session_id={ID}&a=b", "session_id=redacted&a=b"),
        (f"s%65ssion_id={ID}&sse_session={ID}", "s%65ssion_id=redacted&sse_session=redacted"),
        ("session_id&a", "session_id&a"),
    ],
)
def test_a_query_is_redacted(query: str, shown: str) -> None:
    assert redact_query(query) == shown


def test_lines_are_redacted_while_the_interpreter_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asyncio logs of tasks that are left then: no module can be imported any more."""
    with monkeypatch.context() as ending:
        ending.delitem(sys.modules, "re")
        ending.setattr(sys, "meta_path", None)
        shown = redact_text(f"GET /mcp?session_id={ID} mcp-session-id: {ID}")
    assert ID not in shown
