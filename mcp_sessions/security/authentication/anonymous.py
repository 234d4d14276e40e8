"""Anonymous access, on purpose."""

from __future__ import annotations

from mcp_sessions.exchange import Exchange
from mcp_sessions.principals import ANONYMOUS, Principal
from mcp_sessions.security.authentication.base import BaseAuthenticator


class AllowAnonymous(BaseAuthenticator):
    """Permits requests without a credential. It belongs last in AUTHENTICATORS.

    A bearer token that none of the others recognises is refused; where there are no others it is the tools'
    own matter. With REQUIRED_SCOPES nothing is permitted to anonymous requests.
    """

    async def authenticate(self, exchange: Exchange) -> Principal:
        return ANONYMOUS
