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
from mcp_sessions.security.authentication.threads import in_database
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
    "in_database",
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
        if principal is not None and not _passes_over_token(exchange, authenticator, authenticators):
            return principal, authenticator
    raise CredentialRequired(is_unknown="authorization" in exchange.headers)


def _passes_over_token(
    exchange: Exchange, authenticator: BaseAuthenticator, authenticators: Sequence[BaseAuthenticator]
) -> bool:
    """Whether a request with a bearer token would pass as anonymous where tokens are verified.

    Its client would go on without what is its own, and never learn that it needs another token.
    """
    is_last_resort = isinstance(authenticator, AllowAnonymous) and len(authenticators) > 1
    return is_last_resort and bearer_token(exchange) is not None
