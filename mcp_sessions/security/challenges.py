"""What a client is told that may not do what it asks: 401 and 403 with WWW-Authenticate.

Source: transport.md 4; RFC 6750, section 3; RFC 9728, section 5.1.
"""

from __future__ import annotations

from typing import Final

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import AccessDenied, CredentialRequired, InsufficientScope, RequestError
from mcp_sessions.exchange import Exchange
from mcp_sessions.security.origins import SeenByDjango

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
"""Where an endpoint's metadata is (RFC 9728): in front of its path."""


def challenge(exchange: Exchange, error: AccessDenied) -> RequestError:
    """The answer to a request that was denied. The challenge names what the client needs to get access."""
    parameters = {
        "error": error.code,
        "error_description": str(error) if error.code else "",
        "scope": " ".join(sorted(_scopes(exchange, error))),
        "resource_metadata": metadata_url(exchange),
    }
    return RequestError(
        403 if isinstance(error, InsufficientScope) else 401,
        str(error),
        data={"reason": error.reason},
        headers=(("WWW-Authenticate", _bearer(parameters)),),
    )


def resource_url(exchange: Exchange) -> str:
    """The endpoint's canonical URI (RFC 8707): RESOURCE_URL, else the URL at which the request came."""
    named: str | None = AppSettings(exchange.endpoint).RESOURCE_URL
    return named or f"{_origin(exchange)}{exchange.path.rstrip('/')}"


def metadata_url(exchange: Exchange) -> str:
    """Where the endpoint's metadata is; "" if no authorization server is named for it."""
    if not AppSettings(exchange.endpoint).AUTHORIZATION_SERVERS:
        return ""
    scheme, _, rest = resource_url(exchange).partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}{WELL_KNOWN}{slash}{path}"


def _origin(exchange: Exchange) -> str:
    request = SeenByDjango(exchange)
    return f"{'https' if request.is_secure() else 'http'}://{request.get_host()}"


def _scopes(exchange: Exchange, error: AccessDenied) -> frozenset[str]:
    if isinstance(error, InsufficientScope):
        return error.scopes
    required = frozenset(AppSettings(exchange.endpoint).REQUIRED_SCOPES)
    return required if isinstance(error, CredentialRequired) else frozenset()


def _bearer(parameters: dict[str, str]) -> str:
    given = ", ".join(f'{name}="{_quoted(value)}"' for name, value in parameters.items() if value)
    return f"Bearer {given}".rstrip()


def _quoted(value: str) -> str:
    """The value within a quoted-string (RFC 9110, 5.6.4), on one line."""
    printable = "".join(each for each in value if " " <= each <= "~")
    return printable.replace("\\", "\\\\").replace('"', '\\"')
