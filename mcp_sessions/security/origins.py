"""Which hosts and which browsers' origins may call an endpoint (transport.md 4).

Host is held against Django's ALLOWED_HOSTS: a page of another site that had its name resolve
to this server (DNS rebinding) comes with that site's name. A browser's Origin must be the
endpoint's own, or one of ALLOWED_ORIGINS; requests without one do not come from a page.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Exchange

LOCAL_HOSTS = [".localhost", "127.0.0.1", "[::1]"]


def check(exchange: Exchange) -> None:
    """Raise RequestError 421 for a host that is not ours, 403 for an origin that may not call."""
    host = exchange.headers.get("host", "")
    if not _is_allowed_host(host):
        raise RequestError(421, "This host name is not served here. Add it to ALLOWED_HOSTS.")
    origin = exchange.headers.get("origin")
    if origin is not None and not is_allowed_origin(origin, host, exchange.endpoint):
        raise RequestError(
            403, 'This origin may not call the endpoint. Add it to MCP_SESSIONS["ALLOWED_ORIGINS"].'
        )


def is_allowed_origin(origin: str, host: str, endpoint: str) -> bool:
    allowed = AppSettings(endpoint).ALLOWED_ORIGINS
    if "*" in allowed or origin in allowed:
        return True
    try:
        own = urlsplit(origin)
    except ValueError:
        return False
    return own.scheme in {"http", "https"} and own.netloc.lower() == host.lower()


def _is_allowed_host(host: str) -> bool:
    allowed = settings.ALLOWED_HOSTS or (LOCAL_HOSTS if settings.DEBUG else [])
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)
