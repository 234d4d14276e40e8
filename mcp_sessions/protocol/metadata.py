"""The metadata of a protected endpoint, by which clients find its authorization server.

Source: RFC 9728, section 2; the specification, "Authorization".
"""

from __future__ import annotations

from typing import Any, Final

from mcp_sessions import jsonrpc
from mcp_sessions.conf import served_paths
from mcp_sessions.exceptions import ConfigurationError, RequestError
from mcp_sessions.exchange import Answer, Exchange, Headers
from mcp_sessions.protocol.answers import JSON_HEADERS, refusal
from mcp_sessions.protocol.servers import load, lowlevel
from mcp_sessions.security import origins
from mcp_sessions.security.canonical import resource_url
from mcp_sessions.security.serverauth import NONE, server_auth
from mcp_sessions.security.wellknown import authorization_servers, supported_scopes

METHODS: Final = "GET, HEAD, OPTIONS"
CORS: Final[Headers] = (
    # It has no secrets and nothing of a user: pages of any origin may read it, as clients in browsers do.
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", METHODS),
    ("Access-Control-Allow-Headers", "*"),
)
CACHING: Final[Headers] = (("Cache-Control", "public, max-age=600"),)


def describe(exchange: Exchange) -> Answer:
    """Answer a request for the metadata of the exchange's endpoint. It needs no credential."""
    try:
        origins.check_host(exchange)
        return _answer(exchange)
    except RequestError as error:
        return refusal(error)


def _answer(exchange: Exchange) -> Answer:
    if exchange.method == "OPTIONS":
        return Answer(204, (*CORS, ("Access-Control-Max-Age", "600")))
    if exchange.method not in {"GET", "HEAD"}:
        raise RequestError(405, f"{exchange.method} is not served here.", headers=(("Allow", METHODS),))
    return Answer(200, JSON_HEADERS + CORS + CACHING, jsonrpc.encode(_document(exchange)).encode())


def _document(exchange: Exchange) -> dict[str, Any]:
    own = server_auth(exchange.endpoint) or NONE
    document = {
        "resource": resource_url(exchange),
        "authorization_servers": list(authorization_servers(exchange.endpoint)),
        "scopes_supported": supported_scopes(exchange.endpoint),
        "bearer_methods_supported": ["header"],
        "resource_name": own.name or _name(exchange.endpoint),
        "resource_documentation": own.documentation,
    }
    return {name: value for name, value in document.items() if value}


def _name(endpoint: str) -> str:
    """The server object's, for people who are asked to grant access; "" if it cannot be loaded."""
    try:
        return lowlevel(load(served_paths()[endpoint])).name
    except ConfigurationError:
        return ""
