"""The canonical URI of an endpoint: the resource that tokens are issued for (RFC 8707)."""

from __future__ import annotations

from typing import Final

from django.utils.encoding import escape_uri_path

from mcp_sessions.conf import AppSettings
from mcp_sessions.exchange import Exchange
from mcp_sessions.security.origins import SeenByDjango
from mcp_sessions.security.serverauth import NONE, server_auth

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def resource_url(exchange: Exchange) -> str:
    """The public URL, else the one at which the request came, without a final slash."""
    return public_url(exchange.endpoint) or f"{_origin(exchange)}{escape_uri_path(exchange.path.rstrip('/'))}"


def public_url(endpoint: str) -> str | None:
    """RESOURCE_URL, else what the endpoint's server object says of its own."""
    named: str | None = AppSettings(endpoint).RESOURCE_URL
    return named or (server_auth(endpoint) or NONE).url


def _origin(exchange: Exchange) -> str:
    request = SeenByDjango(exchange)
    scheme = "https" if request.is_secure() else "http"
    return f"{scheme}://{request.get_host().lower().removesuffix(_DEFAULT_PORTS[scheme])}"
