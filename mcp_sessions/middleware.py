"""SessionMiddleware: the MCP session of a request, for every other view of the project.

Source: the guide's chapter "Session Middleware".
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest, HttpResponseBase
from django.utils.asyncio import async_unsafe
from django.utils.functional import SimpleLazyObject

from mcp_sessions.asgi import query_of
from mcp_sessions.exceptions import SessionConflict, SessionEnded, SessionNotFound, StoreUnavailable
from mcp_sessions.exchange import Exchange, header_map
from mcp_sessions.logs import about
from mcp_sessions.protocol.admission import admit_to_view, rotate_at_login
from mcp_sessions.protocol.session_ids import find_session_id
from mcp_sessions.runtime import run, run_sync
from mcp_sessions.security.reports import hide_ids
from mcp_sessions.state import RequestSession

Response = HttpResponseBase | Awaitable[HttpResponseBase]

NAMED: Final = "_mcp_named_session"
"""The attribute by which a request's login is noted."""

logger = logging.getLogger("mcp_sessions.middleware")


class SessionMiddleware:
    """Sets request.mcp_session_id, and request.mcp_session: loaded when it is first looked at.

    The session is a RequestSession, a dict as Django's own session is, or false when the request
    names none that is live and its sender's: by the Django user who has logged in (put this after
    AuthenticationMiddleware), or by a bearer token that the session's endpoint accepts. In
    asynchronous views it is `await request.amcp_session()` (or None): looking at request.mcp_session
    before that would block the event loop, and raises.

    When somebody logs in by a request that names a session without an owner, or of that user, the session
    gets another id after the view, and belongs to the user.

    What a view has changed is stored after it, unless the response is a server error. If the
    session has ended meanwhile a log line says so and the response goes out: nothing is left to
    store it in. Everything else that prevents it (SessionBusy, InvalidSessionData, an unreachable
    store) is raised: a response that says "done" would not be true.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Response]) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response:
        named = NamedSession(request)
        hide_ids(request)
        setattr(request, NAMED, named)
        request.mcp_session_id = named.session_id  # type: ignore[attr-defined]
        request.mcp_session = SimpleLazyObject(named.load)  # type: ignore[attr-defined]
        request.amcp_session = named.aload  # type: ignore[attr-defined]
        response = self._get_response(request)
        if isinstance(response, HttpResponseBase):
            named.save_after(response)
            return response
        return _saved_after(response, named)


async def _saved_after(coming: Awaitable[HttpResponseBase], named: NamedSession) -> HttpResponseBase:
    response = await coming
    await named.asave_after(response)
    return response


class NamedSession:
    """The session that one request names, once it was looked at."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._exchange = _exchange_of(request)
        self.session_id = _claimed_id(self._exchange)
        self._is_loaded = False
        self._session: RequestSession | None = None
        self.user_logged_in: Any | None = None

    def load(self) -> RequestSession | None:
        if not self._is_loaded:
            self._keep(self._block(self._user()))
        return self._session

    async def aload(self) -> RequestSession | None:
        if not self._is_loaded:
            self._keep(await run(self._resume(await self._auser())))
        return self._session

    def save_after(self, response: HttpResponseBase) -> None:
        if (session := self._changed_by(response)) is not None:
            try:
                session.save()
            except SessionEnded as error:
                _log_loss(session, error)
        if self._has_login(response):
            run_sync(self._rotate())

    async def asave_after(self, response: HttpResponseBase) -> None:
        if (session := self._changed_by(response)) is not None:
            try:
                await session.asave()
            except SessionEnded as error:
                _log_loss(session, error)
        if self._has_login(response):
            await run(self._rotate())

    def _has_login(self, response: HttpResponseBase) -> bool:
        """Whether somebody logged in by the request; a server error leaves Django's session as it was."""
        return None not in (self.session_id, self.user_logged_in) and response.status_code < 500

    async def _rotate(self) -> None:
        """After the view, so that the browser soon has the cookie with which it comes back to the session."""
        try:
            await rotate_at_login(self._exchange, str(self.session_id), self.user_logged_in)
        except SessionNotFound:
            return
        except StoreUnavailable as error:
            # It stays an anonymous session, which the user's browser cannot use: the login is worth more.
            logger.error("a session is not rotated at a login: %s", error)

    def _changed_by(self, response: HttpResponseBase) -> RequestSession | None:
        """The session, if there is something to be stored; not after a server error, as Django's own."""
        session = self._session
        return session if session is not None and session.modified and response.status_code < 500 else None

    def _keep(self, found: RequestSession | None) -> None:
        if not self._is_loaded:  # by whoever asked for it at the same time
            self._is_loaded, self._session = True, found

    @async_unsafe("In asynchronous code `await request.amcp_session()` before you use request.mcp_session.")
    def _block(self, user: Any | None) -> RequestSession | None:
        return run_sync(self._resume(user))

    async def _resume(self, user: Any | None) -> RequestSession | None:
        if self.session_id is None:
            return None
        try:
            return RequestSession(*await admit_to_view(self._exchange, self.session_id, user))
        except SessionNotFound:
            return None

    def _user(self) -> Any | None:
        """The Django user who has logged in, if there may be a session of theirs."""
        user = getattr(self._request, "user", None) if self.session_id else None
        return user if user is not None and user.is_authenticated else None

    async def _auser(self) -> Any | None:
        if self.session_id is None or not hasattr(self._request, "auser"):
            return None
        user = await self._request.auser()
        return user if user.is_authenticated else None


def _note_login(request: HttpRequest, user: Any, **_: Any) -> None:
    """Remember who has just logged in: also where a view does it without Django's pages."""
    named = getattr(request, NAMED, None)
    if isinstance(named, NamedSession):
        named.user_logged_in = user


user_logged_in.connect(_note_login, dispatch_uid=__name__)


def _exchange_of(request: HttpRequest) -> Exchange:
    """The request, which is to no endpoint: its path is the script name alone."""
    headers = header_map(request.headers.items())
    # Without a Host the server's own name is meant, as Django takes it.
    headers.setdefault("host", request.META.get("SERVER_NAME", ""))
    return Exchange(
        method=request.method or "",
        endpoint="",
        path=str(request.META.get("SCRIPT_NAME", "")).rstrip("/"),
        headers=headers,
        query_string=query_of(request),
        address=request.META.get("REMOTE_ADDR", ""),
        scheme=request.scheme or "http",
    )


def _claimed_id(exchange: Exchange) -> str | None:
    try:
        requested = find_session_id(exchange)
    except SessionConflict:
        return None
    return requested.session_id if requested else None


def _log_loss(session: RequestSession, error: SessionEnded) -> None:
    text = "session %s: what a view changed is not stored: %s"
    logger.warning(text, session.key, error, extra=about(session.key))
