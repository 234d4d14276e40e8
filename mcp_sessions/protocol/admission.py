"""Who may send requests to an endpoint: decided before anything else of a request is read."""

from __future__ import annotations

from dataclasses import replace

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import AccessDenied, InsufficientScope
from mcp_sessions.exchange import Exchange
from mcp_sessions.security.authentication import authenticate, get_authenticators
from mcp_sessions.security.challenges import challenge


async def admit(exchange: Exchange) -> Exchange:
    """The exchange with its principal. Raises RequestError 401 or 403 with a challenge."""
    authenticators = get_authenticators(exchange.endpoint)
    if not authenticators:
        return exchange
    try:
        principal = await authenticate(exchange, authenticators)
        required = frozenset(AppSettings(exchange.endpoint).REQUIRED_SCOPES)
        if principal.lacks(required):
            raise InsufficientScope(required)
    except AccessDenied as error:
        raise challenge(exchange, error) from error
    return replace(exchange, principal=principal)
