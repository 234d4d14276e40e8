"""SessionMiddleware: the MCP session of a request, for every other view of the project.

Source: the guide's chapter "Session Middleware".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject

from mcp_sessions.exceptions import SessionConflict, SessionNotFound
from mcp_sessions.exchange import Exchange
from mcp_sessions.lifecycle import resume
from mcp_sessions.protocol.claims import claimed
from mcp_sessions.runtime import run_sync
from mcp_sessions.state import SessionState

Response = HttpResponseBase | Awaitable[HttpResponseBase]


class SessionMiddleware:
    """Sets request.mcp_session_id, and request.mcp_session: loaded when it is first looked at.

    The session is a SessionState, or false when the request names none that is live. Its data
    is read here; a tool's edit() writes it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Response]) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response:
        session_id = _claimed_id(request)
        request.mcp_session_id = session_id  # type: ignore[attr-defined]
        request.mcp_session = SimpleLazyObject(lambda: _load(session_id))  # type: ignore[attr-defined]
        return self._get_response(request)


def _claimed_id(request: HttpRequest) -> str | None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    query = request.META.get("QUERY_STRING", "")
    try:
        claim = claimed(Exchange(request.method or "", "", request.path, headers, query))
    except SessionConflict:
        return None
    return claim.session_id if claim else None


def _load(session_id: str | None) -> SessionState | None:
    if session_id is None:
        return None
    try:
        return SessionState(run_sync(resume(session_id, None, "")))
    except SessionNotFound:
        return None
