"""Access tokens in the project's own tables, where the project is its own authorization server."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

from django.apps import apps
from django.utils import timezone

from mcp_sessions.exceptions import ConfigurationError, InvalidCredential
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication.bearer import TokenAuthenticator, ValidToken
from mcp_sessions.security.authentication.threads import in_database
from mcp_sessions.security.authentication.users import active

UNRESTRICTED: Final = (
    "The token was issued for no resource in particular. Ask for one with the parameter resource (RFC 8707)."
)


@dataclass(frozen=True, slots=True)
class StoredToken:
    """What a row says. `user` and `client_id` are None and "" where the token is for none."""

    user: Any
    client_id: str
    scopes: Iterable[str]
    expires_at: datetime | None
    resources: Iterable[str]


class StoredTokens(TokenAuthenticator):
    """Access tokens of an app that is installed in the project; each is read at every request.

    A token that was issued for no resource is refused: to the app it is valid everywhere. A bearer token
    that is in no row is left to the next authenticator. The principal's user is the token's.
    """

    app: ClassVar[str]
    """As in INSTALLED_APPS."""

    def __init__(
        self,
        endpoint: str,
        *,
        audience: str | None = None,
        implied_scopes: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        super().__init__(endpoint, audience=audience, implied_scopes=implied_scopes)
        if not apps.is_installed(self.app):
            raise ConfigurationError(f'{type(self).__name__}: "{self.app}" is not in INSTALLED_APPS.')

    @abstractmethod
    def find(self, token: str) -> StoredToken | None:
        """The row of an access token, read in a thread. Raises InvalidCredential if it does not count."""

    async def verify(self, token: str) -> ValidToken | None:
        found = await in_database(self.find, token)
        if found is None:
            return None
        if found.expires_at is not None and found.expires_at <= timezone.now():
            raise InvalidCredential("The token has expired.")
        if not found.resources:
            raise InvalidCredential(UNRESTRICTED)
        audiences = frozenset(each.rstrip("/") for each in found.resources)
        # Not kept: a token that is revoked is refused at once.
        return ValidToken(self._principal_of(found, token), audiences, valid_until=0)

    def _principal_of(self, found: StoredToken, token: str) -> Principal:
        principal = Principal(
            issuer=self.app,
            subject="" if found.user is None else str(found.user.pk),
            client_id=found.client_id,
            scopes=self._all_scopes(found.scopes),
            expires_at=found.expires_at,
            user=None if found.user is None else active(found.user),
            token=token,
        )
        if principal.is_anonymous:
            raise InvalidCredential("The token names neither a user nor a client.")
        return principal


class OAuthToolkitTokens(StoredTokens):
    """Access tokens of django-oauth-toolkit. StoredTokens has the options."""

    app = "oauth2_provider"

    def __init__(self, endpoint: str, **options: Any) -> None:
        super().__init__(endpoint, **options)
        from oauth2_provider.models import get_access_token_model

        self._model = get_access_token_model()
        if not hasattr(self._model, "resource"):
            raise ConfigurationError(
                "OAuthToolkitTokens: this django-oauth-toolkit knows no resources (RFC 8707). Upgrade it."
            )

    def find(self, token: str) -> StoredToken | None:
        from oauthlib.common import Request

        checksum = hashlib.sha256(token.encode()).hexdigest()
        rows = self._model._default_manager.select_related("user", "application")
        row = rows.filter(token_checksum=checksum).first()
        if row is None:
            return None
        # The toolkit's hook by which a project's own model of applications locks one out.
        if row.application is not None and not row.application.is_usable(Request("")):
            raise InvalidCredential("The token's application may not be used.")
        client_id = row.application.client_id if row.application else ""
        return StoredToken(row.user, client_id, row.scope.split(), row.expires, row.resource)


class AllauthTokens(StoredTokens):
    """Access tokens of django-allauth's identity provider. StoredTokens has the options."""

    app = "allauth.idp.oidc"

    def find(self, token: str) -> StoredToken | None:
        from allauth.idp.oidc.models import Token

        rows = Token.objects.by_value(token).select_related("user")
        row = rows.filter(type=Token.Type.ACCESS_TOKEN).first()
        if row is None:
            return None
        scopes, resources = row.get_scopes(), row.get_resources()
        return StoredToken(row.user, row.client_id or "", scopes, row.expires_at, resources)
