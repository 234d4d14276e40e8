"""Django's own login: the session cookie of the project's pages, and the user who logged in there.

Source: docs.djangoproject.com, "Using the Django authentication system" and "How to use CSRF protection".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse, parse_cookie
from django.middleware.csrf import CsrfViewMiddleware

from mcp_sessions.exceptions import CrossSiteRequest, InvalidCredential
from mcp_sessions.exchange import Exchange
from mcp_sessions.principals import Principal, session_fingerprint
from mcp_sessions.security.authentication.base import BaseAuthenticator
from mcp_sessions.security.authentication.threads import in_database
from mcp_sessions.security.origins import SeenByDjango, is_own_or_named

ISSUER: Final = "django"
SAFE_SITES: Final = frozenset({"", "same-origin", "none"})
"""Values of Sec-Fetch-Site with which a browser may open a stream by itself."""

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoggedIn(Principal):
    """A Django user who logged in; `session_key` is the cookie's, and so a credential."""

    session_key: str = field(default="", repr=False)

    @property
    def fingerprint(self) -> str:
        return session_fingerprint(self.session_key)


class DjangoSessions(BaseAuthenticator):
    """Takes the cookie of Django's sessions for the user who logged in, as AuthenticationMiddleware does.

    It works with any SESSION_ENGINE and any of AUTHENTICATION_BACKENDS. A session in which nobody has
    logged in, or which is over, is left to the next authenticator. A user who was deactivated or deleted,
    or whose password has changed since, is refused. The session is only read: requests do not prolong it.

    Browsers send cookies by themselves, for a page of another site too. So POST and DELETE need an Origin
    that is the endpoint's own or named in ALLOWED_ORIGINS ("*" names none), or Django's CSRF token in its
    header.
    """

    uses_cookies = True

    async def authenticate(self, exchange: Exchange) -> Principal | None:
        cookies = parse_cookie(exchange.headers.get("cookie", ""))
        key = cookies.get(settings.SESSION_COOKIE_NAME)
        if not key:
            return None
        values, user = await in_database(_find, key)
        if SESSION_KEY not in values:
            return None
        if not is_wanted(exchange, cookies, values):
            raise CrossSiteRequest
        if user is None:
            raise InvalidCredential("The login is not valid any more. Log in again.")
        return LoggedIn(ISSUER, str(user.pk), scopes=None, user=user, session_key=key)

    async def is_current(self, principal: Principal) -> bool:
        assert isinstance(principal, LoggedIn)
        _, user = await in_database(_find, principal.session_key)
        return user is not None and user.pk == principal.user.pk


def _find(key: str) -> tuple[Values, Any]:
    """What is in the session, and its user: None if nobody has logged in, or may no more."""
    values = _read(key)
    if SESSION_KEY not in values:
        return values, None
    request = HttpRequest()
    request.session = _Unchanged(values)  # type: ignore[assignment]
    user = get_user(request)
    return values, user if user.is_authenticated and user.is_active else None


def _read(key: str) -> Values:
    try:
        return dict(import_module(settings.SESSION_ENGINE).SessionStore(key).items())
    except (SuspiciousOperation, ValueError):
        # It can be no key: a cache or a database refuses to look for it.
        return {}


class _Unchanged(Values):
    """A session's values for get_user().

    It would empty the session, or (with SECRET_KEY_FALLBACKS) give it a key that no browser would learn.
    """

    def cycle_key(self) -> None:
        """Not here: Django's own pages do it."""

    def flush(self) -> None:
        """Not here either."""


def is_wanted(exchange: Exchange, cookies: dict[str, str], values: Values) -> bool:
    """Whether the user's browser sends this for a page that may ask it to."""
    if "origin" in exchange.headers and is_own_or_named(exchange):
        return True
    if exchange.method == "GET":
        # It opens streams and sessions. A page of another site cannot read those, nor may it use them up.
        return exchange.headers.get("sec-fetch-site", "") in SAFE_SITES
    return _has_csrf_token(exchange, cookies, values)


def _has_csrf_token(exchange: Exchange, cookies: dict[str, str], values: Values) -> bool:
    """Whether the request has Django's CSRF token, by Django's own rules and settings."""
    request = _SeenByMiddleware(exchange)
    request.COOKIES, request.session = cookies, values  # type: ignore[assignment]
    return _Check(_answer).process_view(request, _answer, (), {}) is None


class _SeenByMiddleware(SeenByDjango):
    """What CsrfViewMiddleware reads of a request."""

    def __init__(self, exchange: Exchange) -> None:
        HttpRequest.__init__(self)
        super().__init__(exchange)
        self.method = exchange.method
        for name in ("HTTP_ORIGIN", "HTTP_REFERER", settings.CSRF_HEADER_NAME):
            value = exchange.headers.get(name.removeprefix("HTTP_").replace("_", "-").lower())
            if value is not None:
                self.META[name] = value


class _Check(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        # Without Django's page and line: the security log has one.
        return HttpResponse(status=403)


def _answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse()
