"""Which hosts and which browsers' origins may call an endpoint.

Host is held against Django's ALLOWED_HOSTS: a page of another site that had its name resolve
to this server (DNS rebinding) comes with that site's name. A browser's Origin must be the
endpoint's own, or one of ALLOWED_ORIGINS; requests without one do not come from a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Exchange


class SeenByDjango(HttpRequest):
    """An exchange's headers as Django reads them: get_host() and is_secure(), by the project's settings."""

    def __init__(self, exchange: Exchange) -> None:
        # Not HttpRequest's own: it makes what nobody looks at here.
        self._scheme = exchange.scheme
        self.META = {"HTTP_HOST": "", **_as_meta(exchange.headers)}

    def _get_scheme(self) -> str:
        return self._scheme


def check(exchange: Exchange) -> None:
    """Raise RequestError 421 for a host that is not ours, 403 for an origin that may not call."""
    check_host(exchange)
    if "origin" not in exchange.headers or "*" in AppSettings(exchange.endpoint).ALLOWED_ORIGINS:
        return
    if not is_own_or_named(exchange):
        message = 'This origin may not call the endpoint. Add it to MCP_SESSIONS["ALLOWED_ORIGINS"].'
        raise RequestError(403, message, data={"reason": "origin"})


def check_host(exchange: Exchange) -> str:
    """The host that the request is for. Raises RequestError 421 if it is not ours."""
    try:
        return SeenByDjango(exchange).get_host()
    except DisallowedHost:
        message = "This host name is not served here. Add it to ALLOWED_HOSTS."
        raise RequestError(421, message, data={"reason": "host"}) from None


def is_own_or_named(exchange: Exchange) -> bool:
    """Whether the request's Origin is the endpoint's own, or named in ALLOWED_ORIGINS ("*" names none)."""
    origin = exchange.headers.get("origin", "")
    if origin in set(AppSettings(exchange.endpoint).ALLOWED_ORIGINS) - {"*"}:
        return True
    try:
        own = urlsplit(origin)
    except ValueError:
        return False
    request = SeenByDjango(exchange)
    # Where a proxy does TLS and Django does not know, an https page still calls its own endpoint.
    schemes = {"https"} if request.is_secure() else {"https", "http"}
    return own.scheme in schemes and own.netloc.lower() == request.get_host().lower()


def _as_meta(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that get_host() and is_secure() read, by the names that they have in META."""
    wanted = ("HTTP_HOST", "HTTP_X_FORWARDED_HOST", *(settings.SECURE_PROXY_SSL_HEADER or ())[:1])
    # Never those spelt with "_": they would pass for what a proxy sets.
    found = {name: headers.get(name.removeprefix("HTTP_").replace("_", "-").lower()) for name in wanted}
    return {"HTTP_HOST": "", **{name: value for name, value in found.items() if value is not None}}
