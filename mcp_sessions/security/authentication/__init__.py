"""Authentication: one kind of credential a file, chosen by AUTHENTICATORS and loaded late."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_sessions.exceptions import CredentialRequired
from mcp_sessions.exchange import Exchange
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication.anonymous import AllowAnonymous
from mcp_sessions.security.authentication.base import BaseAuthenticator, bearer_token, check_form
from mcp_sessions.security.authentication.djangosessions import DjangoSessions
from mcp_sessions.security.authentication.introspection import TokenIntrospection
from mcp_sessions.security.authentication.jwt import JSONWebTokens
from mcp_sessions.security.authentication.loading import get_authenticators
from mcp_sessions.security.authentication.static import StaticTokens
from mcp_sessions.security.authentication.stored import AllauthTokens, OAuthToolkitTokens
from mcp_sessions.security.authentication.verifiers import VerifiedTokens

__all__ = [
    "AllauthTokens",
    "AllowAnonymous",
    "BaseAuthenticator",
    "DjangoSessions",
    "JSONWebTokens",
    "OAuthToolkitTokens",
    "StaticTokens",
    "TokenIntrospection",
    "VerifiedTokens",
    "authenticate",
    "bearer_token",
    "get_authenticators",
]


async def authenticate(
    exchange: Exchange, authenticators: Sequence[BaseAuthenticator]
) -> tuple[Principal, BaseAuthenticator]:
    """The principal of a request, and the authenticator that decided: the first that recognises a credential.

    Raises CredentialRequired if none does, MalformedCredential, and InvalidCredential.
    """
    check_form(exchange)
    for authenticator in authenticators:
        principal = await authenticator.authenticate(exchange)
        if principal is not None:
            return principal, authenticator
    raise CredentialRequired(is_unknown="authorization" in exchange.headers)
