"""The authentication that a server object brings.

The libraries honour it in the ASGI applications that they make themselves. Here the endpoint is ours, so the
verifier becomes an authenticator (see security.authentication).
"""

from __future__ import annotations

import sys
from typing import Any

from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl, ValidationError

from mcp_sessions.conf import served_paths
from mcp_sessions.protocol.servers import load
from mcp_sessions.security.serverauth import ServerAuth


def find_server_auth(endpoint: str) -> ServerAuth | None:
    """The authentication that the server object at an endpoint's path brings. Raises ConfigurationError."""
    author = load(served_paths()[endpoint])
    if isinstance(author, MCPServer):
        settings, verifier = author.settings.auth, author._token_verifier
        return None if settings is None or verifier is None else _of_sdk(settings, verifier)
    if "fastmcp" not in sys.modules or (provider := getattr(author, "auth", None)) is None:
        return None
    from mcp_sessions.protocol.fastmcp import auth_of  # only where FastMCP is installed

    return auth_of(provider, endpoint)


def _of_sdk(settings: AuthSettings, verifier: Any) -> ServerAuth:
    url = None if settings.resource_server_url is None else str(settings.resource_server_url)
    scopes = tuple(settings.required_scopes or ())

    def accepts_resource(resource: str | None) -> bool:
        return _canonical(resource) == _canonical(url)

    return ServerAuth(
        verifier,
        url=None if url is None else url.rstrip("/"),
        # Without the resource's URL the SDK has no metadata either.
        authorization_servers=() if url is None else (str(settings.issuer_url),),
        required_scopes=frozenset(scopes),
        scopes_supported=scopes,
        accepts_resource=accepts_resource if settings.validate_token_resource else None,
    )


def _canonical(url: str | None) -> str | None:
    """The URL as the SDK compares it: the case of the host, a default port and a last slash do not matter."""
    try:
        return str(AnyHttpUrl(url or "")).removesuffix("/")
    except ValidationError:
        return None
