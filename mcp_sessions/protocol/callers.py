"""Who is calling, as the server libraries tell it to tools: get_access_token() of the SDK and of FastMCP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.authentication import AuthCredentials

from mcp_sessions.principals import Principal
from mcp_sessions.state import current_principal


@contextmanager
def calling(principal: Principal) -> Iterator[None]:
    """Around a call: the principal of its request, for get_principal() and the SDK's get_access_token()."""
    ours = current_principal.set(principal)
    theirs = auth_context_var.set(user_scope(principal).get("user"))
    try:
        yield
    finally:
        auth_context_var.reset(theirs)
        current_principal.reset(ours)


def user_scope(principal: Principal) -> Mapping[str, Any]:
    """What Starlette's AuthenticationMiddleware adds to a scope; FastMCP's get_access_token() looks there."""
    if principal.is_anonymous:
        return {}
    user = AuthenticatedUser(access_token_of(principal))
    return {"user": user, "auth": AuthCredentials(user.scopes)}


def access_token_of(principal: Principal) -> AccessToken:
    """The principal as an access token: what the verifier returned, if it was the library's."""
    if isinstance(principal.access_token, AccessToken):
        return principal.access_token
    return AccessToken(
        token=principal.token,
        client_id=principal.client_id,
        scopes=sorted(principal.scopes or ()),
        expires_at=None if principal.expires_at is None else int(principal.expires_at.timestamp()),
        subject=principal.subject or None,
        claims={**({"iss": principal.issuer} if principal.issuer else {}), **principal.claims},
    )
