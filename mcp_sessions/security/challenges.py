"""The answers to clients that may not do what they ask: 400, 401 and 403 with WWW-Authenticate.

Source: the specification, "Authorization"; RFC 6750, section 3; RFC 9728, section 5.1.
"""

from __future__ import annotations

from mcp_sessions.exceptions import (
    AccessDenied,
    CredentialRequired,
    CrossSiteRequest,
    InsufficientScope,
    MalformedCredential,
    RequestError,
)
from mcp_sessions.exchange import Exchange
from mcp_sessions.security.wellknown import NEVER_REQUIRED, challenge_scopes, metadata_url, required_scopes


def challenge(exchange: Exchange, error: AccessDenied) -> RequestError:
    """The answer to a request that was denied. The challenge names what the client needs to get access.

    It is the same for every revision: what a newer one wants (`scope`, all of an operation at once)
    the older ones permit.
    """
    if isinstance(error, CrossSiteRequest):
        return RequestError(error.status, str(error), data={"reason": error.reason})
    parameters = {
        "error": error.code,
        "error_description": str(error) if error.code else "",
        "scope": " ".join(challenge_scopes(exchange.endpoint, _scopes(exchange, error))),
        "resource_metadata": metadata_url(exchange),
    }
    return RequestError(
        error.status,
        str(error),
        data={"reason": error.reason},
        headers=(("WWW-Authenticate", _bearer(parameters)),),
    )


def _scopes(exchange: Exchange, error: AccessDenied) -> frozenset[str]:
    """All that the request needs, so that the client has to ask its user once."""
    if isinstance(error, MalformedCredential):
        return frozenset()
    needed = error.scopes if isinstance(error, InsufficientScope | CredentialRequired) else frozenset()
    return required_scopes(exchange.endpoint) | needed - NEVER_REQUIRED


def _bearer(parameters: dict[str, str]) -> str:
    given = ", ".join(f'{name}="{_quoted(value)}"' for name, value in parameters.items() if value)
    return f"Bearer {given}".rstrip()


def _quoted(value: str) -> str:
    """The value within a quoted-string (RFC 9110, 5.6.4), on one line."""
    printable = "".join(each for each in value if " " <= each <= "~")
    return printable.replace("\\", "\\\\").replace('"', '\\"')
