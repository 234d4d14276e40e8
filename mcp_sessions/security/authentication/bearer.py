"""What authenticators of OAuth bearer tokens have in common: audience, scopes, users, and a cache."""

from __future__ import annotations

import hashlib
import time
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from mcp_sessions.exceptions import AuthenticationUnavailable, InvalidCredential
from mcp_sessions.exchange import Exchange
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication.base import BaseAuthenticator, bearer_token
from mcp_sessions.security.authentication.users import UserLookup
from mcp_sessions.security.canonical import resource_url

MAX_CACHED: Final = 4096
"""Valid tokens that a process keeps for an endpoint; past it, the one that was used longest ago goes."""
LAST_SECOND: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class ValidToken:
    """What a token says. `audiences` are the resources it was issued for, `valid_until` is a Unix time."""

    principal: Principal
    audiences: frozenset[str]
    valid_until: float


class TokenAuthenticator(BaseAuthenticator):
    """Bearer tokens that an authorization server has issued for this endpoint, and for it alone.

    `audience` is the endpoint's name at an authorization server that does not know it by its URL.
    `implied_scopes` says which scopes another one includes: {"admin": ["read", "write"]}. `user` is the
    Django user of a token: a field of the user model, which has the value of `user_claim`, or the dotted
    path of a function that gets the claims.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        audience: str | None = None,
        implied_scopes: Mapping[str, Iterable[str]] | None = None,
        user: str | Callable[[Mapping[str, Any]], Any] | None = None,
        user_claim: str = "sub",
    ) -> None:
        super().__init__(endpoint)
        self._audience = audience
        self.checks_audience = audience is None
        self._implied = {scope: frozenset(others) for scope, others in (implied_scopes or {}).items()}
        self._find_user = UserLookup(user, user_claim) if user else None
        self._cached: OrderedDict[bytes, ValidToken] = OrderedDict()

    @abstractmethod
    async def verify(self, token: str) -> ValidToken | None:
        """What the token says, or None if it is of another kind.

        Raises InvalidCredential, and AuthenticationUnavailable if it cannot be found out now.
        """

    async def authenticate(self, exchange: Exchange) -> Principal | None:
        token = bearer_token(exchange)
        valid = None if token is None else await self._valid(token)
        if valid is None:
            return None
        if (self._audience or resource_url(exchange)).rstrip("/") not in valid.audiences:
            raise InvalidCredential("The token was not issued for this endpoint.")
        return await self._with_user(valid.principal)

    async def is_current(self, principal: Principal) -> bool:
        """Whether the token is still valid; an authorization server that cannot be asked changes nothing."""
        try:
            valid = await self._valid(principal.token)
            return valid is not None and await self._with_user(valid.principal) is not None
        except InvalidCredential:
            return False
        except AuthenticationUnavailable:
            return await super().is_current(principal)

    async def _valid(self, token: str) -> ValidToken | None:
        digest = digest_of_token(token)
        found = self._cached.get(digest)
        if found is not None and time.time() < found.valid_until:
            self._cached.move_to_end(digest)
            return found
        found = await self.verify(token)
        self._cached.pop(digest, None)
        if found is not None and time.time() < found.valid_until:
            self._cached[digest] = found
            if len(self._cached) > MAX_CACHED:
                self._cached.popitem(last=False)
        return found

    async def _with_user(self, principal: Principal) -> Principal:
        """Found anew for each request: a user may be deactivated while the token is valid."""
        if self._find_user is None:
            return principal
        return replace(principal, user=await self._find_user(principal.claims))

    def _principal(self, token: str, claims: Mapping[str, Any], issuer: str, leeway: float = 0) -> Principal:
        subject, client = text(claims, "sub"), text(claims, "client_id") or text(claims, "azp")
        if not subject and not client:
            raise InvalidCredential("The token names neither a subject nor a client.")
        expires = claims.get("exp")
        return Principal(
            issuer=issuer,
            subject=subject,
            client_id=client,
            scopes=self._all_scopes(scopes_of(claims)),
            expires_at=None if expires is None else instant(expires + leeway),
            claims=claims,
            token=token,
        )

    def _all_scopes(self, scopes: Iterable[str]) -> frozenset[str]:
        """The scopes, and those that they imply, and so on."""
        found: set[str] = set()
        waiting = list(scopes)
        while waiting:
            scope = waiting.pop()
            if scope not in found:
                found.add(scope)
                waiting.extend(self._implied.get(scope, ()))
        return frozenset(found)


def digest_of_token(token: str) -> bytes:
    """By which a process remembers a token, and not by the token itself."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def audiences_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """The `aud` claim (RFC 7519, 4.1.3), without final slashes."""
    given = claims.get("aud")
    several = given if isinstance(given, list) else [given]
    return frozenset(each.rstrip("/") for each in several if isinstance(each, str))


def scopes_of(claims: Mapping[str, Any]) -> list[str]:
    """The scopes in `scope` (RFC 9068) or `scp`, which some servers have in its place."""
    given = claims.get("scope") or claims.get("scp") or ""
    several = given if isinstance(given, list) else str(given).split()
    return [each for each in several if isinstance(each, str)]


def text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(max(0, min(seconds, LAST_SECOND)), UTC)
