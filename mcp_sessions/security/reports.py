"""Session ids in headers, kept out of Django's error reports: the page of DEBUG, and the mail to ADMINS."""

from __future__ import annotations

import copy
import re
from functools import cache
from typing import Any, Final

from django.http import HttpRequest
from django.views.debug import get_exception_reporter_filter

HEADERS: Final = "SESSION_ID|LAST_EVENT_ID"
"""In the names of the headers that have ids, as META has them."""


def hide_ids(request: HttpRequest) -> None:
    """Have reports about the request show its headers without ids, by the project's own filter otherwise."""
    project: Any = get_exception_reporter_filter(request)
    if (hidden := getattr(project, "hidden_settings", None)) is not None:
        own = copy.copy(project)
        own.hidden_settings = _and_headers(hidden.pattern)
        request.exception_reporter_filter = own


@cache
def _and_headers(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{pattern}|{HEADERS}", re.IGNORECASE)
