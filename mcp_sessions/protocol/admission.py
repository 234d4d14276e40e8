"""Who may send requests to an endpoint: decided before anything else of a request is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mcp_sessions.exceptions import AccessDenied, InsufficientScope, RequestError, SessionDenied
from mcp_sessions.exchange import Exchange
from mcp_sessions.lifecycle import resume
from mcp_sessions.records import SessionRecord
from mcp_sessions.refusing import report_refusal
from mcp_sessions.security import origins
from mcp_sessions.security.authentication import authenticate, get_authenticators
from mcp_sessions.security.challenges import challenge
from mcp_sessions.security.wellknown import required_scopes


async def admit(exchange: Exchange) -> Exchange:
    """The exchange with its principal.

    Raises RequestError: 400, 401 or 403 with a challenge; 421 and 403 for what origins.check() refuses.
    """
    _check_origin(exchange)
    authenticators = get_authenticators(exchange.endpoint)
    if not authenticators:
        return exchange
    try:
        principal, authenticator = await authenticate(exchange, authenticators)
        required = required_scopes(exchange.endpoint)
        if principal.lacks(required):
            raise InsufficientScope(required)
    except AccessDenied as error:
        report_refusal(exchange, error.code or error.reason)
        raise challenge(exchange, error) from error
    return replace(exchange, principal=principal, authenticator=authenticator)


def _check_origin(exchange: Exchange) -> None:
    try:
        origins.check(exchange)
    except RequestError as error:
        report_refusal(exchange, error.data["reason"] if error.data else "origin")
        raise


async def admitted_session(exchange: Exchange, session_id: str) -> SessionRecord:
    """The session that a request names, if the request may use it. Raises SessionNotFound."""
    try:
        return await resume(session_id, exchange)
    except SessionDenied as error:
        report_refusal(exchange, error.reason, error.key)
        raise


def authentication_of(exchange: Exchange) -> dict[str, Any]:
    """How a session's owner has authenticated, for operators: the metadata that it is opened with."""
    principal = exchange.principal
    if principal.is_anonymous:
        return {}
    scopes = None if principal.scopes is None else sorted(principal.scopes)
    by = type(exchange.authenticator).__name__
    found = {"by": by, "issuer": principal.issuer, "client": principal.client_id, "scopes": scopes}
    return {"authentication": found}
