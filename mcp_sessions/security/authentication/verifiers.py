"""Bearer tokens that a server library's verifier verifies: the official SDK's TokenVerifier, FastMCP's.

A verifier is anything with `async verify_token(token)`, which returns None or an access token: an object with
token, client_id, scopes, expires_at, resource, subject and claims.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from mcp_sessions.exceptions import InvalidCredential
from mcp_sessions.exchange import Exchange
from mcp_sessions.isolation import isolated
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication.base import BaseAuthenticator, bearer_token

logger = logging.getLogger("mcp_sessions.security")


class VerifiedTokens(BaseAuthenticator):
    """Makes an authenticator of a verifier. AUTHENTICATORS may name a verifier itself, by its dotted path.

    A token that the verifier does not know is left to the next authenticator. `accepts_resource` decides by
    the resource that a token was issued for whether it is accepted.
    """

    def __init__(
        self,
        endpoint: str,
        verifier: Any,
        accepts_resource: Callable[[str | None], bool] | None = None,
        authorization_servers: Sequence[str] = (),
    ) -> None:
        super().__init__(endpoint)
        self.authorization_servers = tuple(authorization_servers)
        self._verifier = verifier
        self._accepts_resource = accepts_resource

    async def authenticate(self, exchange: Exchange) -> Principal | None:
        token = bearer_token(exchange)
        found = None if token is None else await isolated(self._verifier.verify_token(token))
        if token is None or found is None:
            return None
        principal = replace(principal_of_token(found), token=token)
        self._check(principal)
        return principal

    async def is_current(self, principal: Principal) -> bool:
        """Whether the verifier still accepts the token; one that cannot be asked leaves it as it was."""
        if not await super().is_current(principal):
            return False
        try:
            return await isolated(self._verifier.verify_token(principal.token)) is not None
        except Exception as error:
            logger.warning("a token could not be verified again: %s", type(error).__name__)
            return True

    def _check(self, principal: Principal) -> None:
        if principal.expires_at is not None and principal.expires_at <= timezone.now():
            raise InvalidCredential("The token has expired.")
        resource = getattr(principal.access_token, "resource", None)
        if self._accepts_resource is not None and not self._accepts_resource(resource):
            raise InvalidCredential("The token was issued for another resource.")


def principal_of_token(access_token: Any) -> Principal:
    """The principal of what a verifier returned."""
    claims: Mapping[str, Any] = dict(getattr(access_token, "claims", None) or {})
    subject = getattr(access_token, "subject", None) or claims.get("sub") or ""
    expires_at = access_token.expires_at
    return Principal(
        issuer=str(claims.get("iss") or ""),
        subject=str(subject),
        client_id=access_token.client_id,
        scopes=frozenset(access_token.scopes or ()),
        # 0 is none, as the libraries take it.
        expires_at=datetime.fromtimestamp(expires_at, UTC) if expires_at else None,
        claims=claims,
        access_token=access_token,
    )
