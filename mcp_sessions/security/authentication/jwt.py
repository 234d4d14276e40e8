"""JSON Web Tokens: access tokens that an issuer has signed, and that need nobody to be asked.

Source: RFC 7519, RFC 8725 (best current practices), RFC 9068 (JWTs as access tokens).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mcp_sessions.exceptions import ConfigurationError, InvalidCredential
from mcp_sessions.security.authentication.bearer import TokenAuthenticator, ValidToken, audiences_of
from mcp_sessions.security.authentication.keys import LIFETIME, IssuerKeys

SIGNATURES: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"),
    *("Ed25519", "EdDSA"),
)
"""Algorithms whose keys can be public. Anybody could sign with a shared secret that is published."""
TYPES: Final = {"jwt", "at+jwt", "application/at+jwt"}
"""Values of `typ` that an access token may have. Others are no access tokens: `logout+jwt`, for instance."""


class JSONWebTokens(TokenAuthenticator):
    """Access tokens that `issuer` has signed, verified with its public keys.

    The keys are at `jwks_uri`, or where the issuer's metadata says. `algorithms` are those that may have
    signed a token, `leeway` is how many seconds the issuer's clock may be apart. A bearer token that is no
    JWT of this issuer is left to the next authenticator. TokenAuthenticator has the other options.
    """

    def __init__(
        self,
        endpoint: str,
        issuer: str,
        *,
        jwks_uri: str | None = None,
        algorithms: Iterable[str] = SIGNATURES,
        leeway: int = 30,
        **options: Any,
    ) -> None:
        super().__init__(endpoint, **options)
        self._algorithms = tuple(algorithms)
        if unknown := set(self._algorithms) - set(SIGNATURES):
            raise ConfigurationError(
                f"JSONWebTokens: {', '.join(sorted(unknown))} cannot be among the algorithms: "
                f"choose among {', '.join(SIGNATURES)}."
            )
        self._issuer = issuer
        self._leeway = leeway
        self._joserfc = _joserfc()
        self._keys = IssuerKeys(issuer, jwks_uri)
        self.authorization_servers = (issuer,)

    async def verify(self, token: str) -> ValidToken | None:
        header, unverified = _parts(token)
        if unverified.get("iss") != self._issuer:
            return None
        if str(header.get("typ", "JWT")).lower() not in TYPES:
            raise InvalidCredential("The token is no access token.")
        kid = header.get("kid")
        key = await self._keys.find(kid if isinstance(kid, str) else None)
        if key is None:
            raise InvalidCredential("The token is signed with a key that its issuer does not have.")
        return self._valid_token(token, self._claims(token, key))

    def _claims(self, token: str, key: Any) -> Mapping[str, Any]:
        """The claims, once signature and times are verified."""
        errors, jwt = self._joserfc.errors, self._joserfc.jwt
        required = {"essential": True}
        rules = jwt.JWTClaimsRegistry(
            leeway=self._leeway, exp=required, iss={**required, "value": self._issuer}
        )
        try:
            claims: Mapping[str, Any] = jwt.decode(token, key, algorithms=self._algorithms).claims
            rules.validate(claims)
        except errors.ExpiredTokenError as error:
            raise InvalidCredential("The token has expired.") from error
        except (errors.JoseError, ValueError, TypeError) as error:
            raise InvalidCredential("The token is not valid.") from error
        return claims

    def _valid_token(self, token: str, claims: Mapping[str, Any]) -> ValidToken:
        principal = self._principal(token, claims, self._issuer, self._leeway)
        # No longer than its key: an issuer withdraws a key that was stolen.
        until = min(claims["exp"] + self._leeway, time.time() + LIFETIME)
        return ValidToken(principal, audiences_of(claims), until)


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, neither of them verified; empty if the token is no signed JWT."""
    header, *rest = token.split(".")
    if len(rest) != 2:
        return {}, {}
    return _decoded(header), _decoded(rest[0])


def _decoded(part: str) -> dict[str, Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _joserfc() -> Any:
    try:
        import joserfc.errors
        import joserfc.jwt
    except ImportError as error:
        raise ConfigurationError('joserfc is not installed: pip install "mcp-sessions[oauth]".') from error
    return joserfc
