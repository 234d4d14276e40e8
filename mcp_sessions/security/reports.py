"""Session ids, kept out of Django's error reports: the page of DEBUG, and the mail to ADMINS.

The filter hides headers, in both. The page also has the URL, the parameters and the variables of each frame:
there an id is replaced wherever it stands, by a reporter of ours. Mails are made by the reporter that the
project's settings name: DEFAULT_EXCEPTION_REPORTER may be `IdHidingReporter`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from html import escape
from typing import Any, Final
from urllib.parse import quote

from django.http import HttpRequest
from django.utils.safestring import SafeString, mark_safe
from django.views.debug import (
    ExceptionReporter,
    get_exception_reporter_class,
    get_exception_reporter_filter,
)

from mcp_sessions.security.redaction import ENDPOINT_PARAMETER, GUIDE_PARAMETER

HEADERS: Final = "SESSION_ID|LAST_EVENT_ID"
"""In the names of the headers that have ids, as META has them."""
ID: Final = re.compile(r"[^\s,]{16,}")
"""What may be an id in such a header. What is shorter may be part of anything; a header may be sent twice."""
SENT_IN: Final = ("HTTP_MCP_SESSION_ID", "HTTP_X_SESSION_ID", "HTTP_LAST_EVENT_ID")
HIDDEN: Final = "********************"


def hide_ids(request: HttpRequest) -> None:
    """Have reports about the request show no ids; otherwise they are as the project has them."""
    if not (request.META.get("QUERY_STRING") or any(name in request.META for name in SENT_IN)):
        return
    project: Any = get_exception_reporter_filter(request)
    if (hidden := getattr(project, "hidden_settings", None)) is not None:
        own = copy.copy(project)
        own.hidden_settings = _and_headers(hidden.pattern)
        request.exception_reporter_filter = own
    request.exception_reporter_class = _hiding(get_exception_reporter_class(request))


class HidesIds:
    """Mixed into a class of reporters."""

    request: HttpRequest | None

    def get_traceback_html(self) -> SafeString:
        return self._without_ids(super().get_traceback_html())  # type: ignore[misc]

    def get_traceback_text(self) -> SafeString:
        return self._without_ids(super().get_traceback_text())  # type: ignore[misc]

    def _without_ids(self, report: str) -> SafeString:
        for session_id in set() if self.request is None else set(_ids_of(self.request)):
            for written in {session_id, escape(session_id), quote(session_id)}:
                report = report.replace(written, HIDDEN)
        return mark_safe(report)


class IdHidingReporter(HidesIds, ExceptionReporter):
    """Django's own, without the session ids that a request named."""


def _ids_of(request: HttpRequest) -> Iterator[str]:
    for name, value in request.META.items():
        if name.startswith("HTTP_") and re.search(HEADERS, name):
            yield from ID.findall(value)
    for parameter in (GUIDE_PARAMETER, ENDPOINT_PARAMETER):
        for value in request.GET.getlist(parameter):
            yield from ID.findall(value)


@cache
def _and_headers(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{pattern}|{HEADERS}", re.IGNORECASE)


@cache
def _hiding(reporter: type[Any]) -> type[Any]:
    return reporter if issubclass(reporter, HidesIds) else type(reporter.__name__, (HidesIds, reporter), {})
