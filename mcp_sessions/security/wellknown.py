"""An endpoint as an OAuth 2.1 protected resource: what it needs, and where its metadata is.

Source: RFC 9728 (protected resource metadata).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from mcp_sessions.conf import AppSettings, served_paths
from mcp_sessions.exchange import Exchange
from mcp_sessions.security.authentication.loading import get_authenticators
from mcp_sessions.security.canonical import public_url, resource_url
from mcp_sessions.security.serverauth import NONE, ServerAuth, server_auth

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
"""Where an endpoint's metadata is: in front of its path, at the root of the host."""
NEVER_REQUIRED: Final = frozenset({"offline_access"})
"""It gets the client a refresh token and permits nothing: no resource may ask for it (2026-07-28)."""


def metadata_url(exchange: Exchange) -> str:
    """Where the endpoint's metadata is; "" if no authorization server is known for it."""
    if not authorization_servers(exchange.endpoint):
        return ""
    scheme, _, rest = resource_url(exchange).partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}{WELL_KNOWN}{slash}{path}".rstrip("/")


def authorization_servers(endpoint: str) -> tuple[str, ...]:
    """Issuer URLs: those of AUTHORIZATION_SERVERS, else those that the endpoint's authenticators know."""
    named = AppSettings(endpoint).AUTHORIZATION_SERVERS
    found = (each for one in get_authenticators(endpoint) for each in one.authorization_servers)
    return tuple(dict.fromkeys(named or found))


def required_scopes(endpoint: str) -> frozenset[str]:
    """The scopes that every request to the endpoint needs: REQUIRED_SCOPES, else the server object's own."""
    named = frozenset(AppSettings(endpoint).REQUIRED_SCOPES)
    return (named or _own(endpoint).required_scopes) - NEVER_REQUIRED


def supported_scopes(endpoint: str) -> list[str]:
    """The scopes that there are, as far as they are known."""
    return sorted({*_own(endpoint).scopes_supported, *required_scopes(endpoint)} - NEVER_REQUIRED)


def challenge_scopes(endpoint: str, scopes: Iterable[str]) -> Sequence[str]:
    """The scopes that a client asks for to get these."""
    return _own(endpoint).challenge_scopes(sorted(scopes))


def _own(endpoint: str) -> ServerAuth:
    return server_auth(endpoint) or NONE


def described_endpoint(path: str, script_name: str = "") -> str | None:
    """The endpoint whose metadata is at a path (below the script name); None if it is no such path.

    At the root it is the only endpoint that has authorization servers. Of several none is there: it
    would be another one's for each client that looks there.
    """
    if not path.startswith(WELL_KNOWN):
        return None
    place = path.removeprefix(WELL_KNOWN).rstrip("/")
    protected = [each for each in served_paths() if authorization_servers(each)]
    if not place:
        return protected[0] if len(protected) == 1 else None
    return next((each for each in protected if place in _places(each, script_name)), None)


def _places(endpoint: str, script_name: str) -> set[str]:
    """The endpoint's path as this process knows it, as its host does, and in its public URL."""
    public = urlsplit(public_url(endpoint) or "").path.rstrip("/")
    return {endpoint, script_name.rstrip("/") + endpoint, public}
