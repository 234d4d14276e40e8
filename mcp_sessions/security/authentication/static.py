"""Tokens from settings, for machines."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.exchange import Exchange
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication.base import BaseAuthenticator, bearer_token

ISSUER = "settings"


class StaticTokens(BaseAuthenticator):
    """Bearer tokens whose SHA-256 digests stand in the settings, each with a name.

    `tokens` maps a name to the hexadecimal digest of its token: `sha256(token).hexdigest()`. The name is
    the principal's subject. `scopes` are what each of them permits. A bearer token that is none of
    these is left to the next authenticator.
    """

    def __init__(self, endpoint: str, tokens: Mapping[str, str], scopes: Iterable[str] = ()) -> None:
        super().__init__(endpoint)
        for name, digest in tokens.items():
            if len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef"):
                raise ConfigurationError(
                    f"StaticTokens: the entry for {name!r} is not a SHA-256 digest. "
                    "Write hashlib.sha256(token.encode()).hexdigest()."
                )
        self._principals = {
            digest.lower(): Principal(ISSUER, name, scopes=frozenset(scopes))
            for name, digest in tokens.items()
        }

    async def authenticate(self, exchange: Exchange) -> Principal | None:
        token = bearer_token(exchange)
        if token is None:
            return None
        given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        # Every digest is compared, each in constant time: how long it takes says nothing about them.
        found = [known for known in self._principals if hmac.compare_digest(known, given)]
        return self._principals[found[0]] if found else None
