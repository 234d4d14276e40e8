"""Tokens that only their authorization server can read: it is asked about each.

Source: RFC 7662 (introspection); RFC 6749, 2.3.1 (how a client names itself).
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from typing import Any, Final
from urllib.parse import quote_plus

from mcp_sessions.exceptions import AuthenticationUnavailable, InvalidCredential
from mcp_sessions.security.authentication.bearer import (
    TokenAuthenticator,
    ValidToken,
    audiences_of,
    digest_of_token,
    text,
)
from mcp_sessions.security.authentication.fetching import Fetcher, FetchFailed

REFUSED_SECONDS: Final = 5.0
"""So long the server is not asked again about an invalid token, which may have been issued a moment ago."""
MAX_REFUSED: Final = 1024
"""Invalid tokens that a process remembers for an endpoint; past it, the oldest is forgotten."""

logger = logging.getLogger("mcp_sessions.security")


class TokenIntrospection(TokenAuthenticator):
    """Bearer tokens about which the authorization server is asked at `url`, its introspection endpoint.

    `client_id` and `client_secret` are this server's own there, `issuer` is the server's issuer URL. What was
    said of a valid token counts for `cache_seconds`: so long one that was revoked is still accepted. What was
    said of an invalid one counts for REFUSED_SECONDS at most. A token that is not active is refused, so this
    belongs behind the authenticators of other kinds of tokens.
    TokenAuthenticator has the other options.
    """

    def __init__(
        self,
        endpoint: str,
        url: str,
        *,
        client_id: str,
        client_secret: str,
        issuer: str,
        cache_seconds: float = 10,
        **options: Any,
    ) -> None:
        super().__init__(endpoint, **options)
        self._url = url
        self._credentials = (quote_plus(client_id), quote_plus(client_secret))
        self._issuer = issuer
        self._cache_seconds = cache_seconds
        self._fetcher = Fetcher([url])
        self._refused = Refused(min(cache_seconds, REFUSED_SECONDS))
        self.authorization_servers = (issuer,)

    async def verify(self, token: str) -> ValidToken:
        self._refused.check(token)
        try:
            return await self._ask(token)
        except InvalidCredential as error:
            self._refused.add(token, error)
            raise

    async def _ask(self, token: str) -> ValidToken:
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            said = await self._fetcher.post(self._url, form, self._credentials)
        except FetchFailed as error:
            # The server is not there, or does not know this one: neither is the token's fault.
            logger.error("answering 503: a token cannot be introspected: %s", error)
            raise AuthenticationUnavailable from error
        if said.get("active") is not True or text(said, "iss") not in {"", self._issuer}:
            raise InvalidCredential("The token is not valid.")
        expires = said.get("exp", math.inf)
        if not isinstance(expires, int | float) or not time.time() < expires:
            raise InvalidCredential("The token has expired.")
        principal = self._principal(token, said, self._issuer)
        return ValidToken(principal, audiences_of(said), min(expires, time.time() + self._cache_seconds))


class Refused:
    """Invalid tokens, by their digests: a client that tries one again and again costs the server little."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def check(self, token: str) -> None:
        """Raise InvalidCredential for one that was refused a moment ago."""
        until, why = self._until.get(digest_of_token(token), (0.0, ""))
        if time.monotonic() < until:
            raise InvalidCredential(why)

    def add(self, token: str, error: InvalidCredential) -> None:
        digest = digest_of_token(token)
        self._until.pop(digest, None)
        self._until[digest] = (time.monotonic() + self._seconds, str(error))
        if len(self._until) > MAX_REFUSED:
            self._until.popitem(last=False)
