"""Who calls the helpdesk: each user's MCP client sends a token of that user."""

from __future__ import annotations

import hashlib
from typing import Any

from example_project.helpdesk.models import UserToken
from mcp_sessions import InvalidCredential
from mcp_sessions.exchange import Exchange
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication import BaseAuthenticator, bearer_token, in_database


class UserTokens(BaseAuthenticator):
    """Takes bearer tokens of users. A deleted token is refused at once, and its open streams end."""

    async def authenticate(self, exchange: Exchange) -> Principal | None:
        token = bearer_token(exchange)
        if token is None:
            return None
        user = await in_database(find_user, token)
        if user is None:
            raise InvalidCredential("This token is not valid.")
        return Principal("helpdesk", str(user.pk), user=user, scopes=None, token=token)

    async def is_current(self, principal: Principal) -> bool:
        return await in_database(find_user, principal.token) is not None


def find_user(token: str) -> Any:
    """The active user with this token, or None."""
    found = UserToken.objects.select_related("user").filter(digest=digest_of(token), user__is_active=True)
    row = found.first()
    return None if row is None else row.user


def digest_of(token: str) -> str:
    # Tokens are long and random, so that nobody can guess one from its digest.
    return hashlib.sha256(token.encode()).hexdigest()
