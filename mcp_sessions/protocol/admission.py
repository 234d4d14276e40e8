"""Who may send requests to an endpoint: decided before anything else of a request is read."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from django.utils import timezone

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import (
    AccessDenied,
    CredentialRequired,
    InsufficientScope,
    RequestError,
    SessionDenied,
)
from mcp_sessions.exchange import Exchange
from mcp_sessions.lifecycle import arotate_session, find, find_by_key, find_handle, resume
from mcp_sessions.principals import ANONYMOUS, Principal, user_owner
from mcp_sessions.records import SessionRecord
from mcp_sessions.refusals import report_refusal
from mcp_sessions.security import origins
from mcp_sessions.security.authentication import authenticate, get_authenticators
from mcp_sessions.security.authentication.djangosessions import ISSUER as DJANGO
from mcp_sessions.security.binding import origin_of
from mcp_sessions.security.challenges import challenge
from mcp_sessions.security.wellknown import required_scopes

T = TypeVar("T")


async def admit(exchange: Exchange) -> Exchange:
    """The exchange with its principal.

    Raises RequestError: 400, 401 or 403 with a challenge; 421 and 403 for what origins.check() refuses.
    """
    _check_origin(exchange)
    authenticators = get_authenticators(exchange.endpoint)
    needs_credential = bool(AppSettings(exchange.endpoint).REQUIRED_SCOPES)
    if not authenticators and not needs_credential:
        return exchange
    try:
        principal, authenticator = await authenticate(exchange, authenticators)
        if principal.is_anonymous and needs_credential:
            raise CredentialRequired
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


def opening_metadata(exchange: Exchange) -> dict[str, Any]:
    """What a session keeps of the request that opens it: where it came from, and who sent it."""
    return {**origin_of(exchange), **_authentication_of(exchange)}


async def admitted_session(exchange: Exchange, session_id: str) -> SessionRecord:
    """The session that a request names, if the request may use it. Raises SessionNotFound."""
    return await reported(exchange, resume(session_id, exchange))


async def admitted_handle(exchange: Exchange, handle: str) -> SessionRecord:
    """The session of this handle, if the request may use it. Raises SessionNotFound."""
    return await reported(exchange, find_handle(handle, exchange))


async def admitted_key(exchange: Exchange, key: str) -> SessionRecord:
    """The session of this key that its owner has opened by a handle. Raises SessionNotFound."""
    return await reported(exchange, find_by_key(key, exchange))


async def reported(exchange: Exchange, finding: Awaitable[T]) -> T:
    """What is found; a request that may not have it is in the security log."""
    try:
        return await finding
    except SessionDenied as error:
        report_refusal(exchange, error.reason, error.key)
        raise


def _authentication_of(exchange: Exchange) -> dict[str, Any]:
    """How a session's owner has authenticated: no credential, and no claims."""
    principal = exchange.principal
    if principal.is_anonymous:
        return {}
    found = {
        "by": type(exchange.authenticator).__name__,
        "issuer": principal.issuer,
        "client": principal.client_id,
        "user_id": principal.user_id,
        "scopes": None if principal.scopes is None else sorted(principal.scopes),
        "authenticated_at": timezone.now().isoformat(),
    }
    return {"authentication": found}


async def admit_to_view(
    exchange: Exchange, session_id: str, user: Any | None
) -> tuple[SessionRecord, Principal]:
    """The session that a request to another view of the project names, and who sent the request.

    `user` is the Django user of the request, if somebody has logged in. A bearer token counts, too, by the
    authenticators of the session's own endpoint. A session without an owner is opened by its id alone, as at
    its endpoint. Raises SessionNotFound.
    """
    principal = ANONYMOUS
    if user is not None or "authorization" in exchange.headers:
        session = await find(session_id)
        principal = await _principal_in_view(exchange, session, user) if session.owner else ANONYMOUS
    return await admitted_session(replace(exchange, principal=principal), session_id), principal


async def rotate_at_login(exchange: Exchange, session_id: str, user: Any) -> None:
    """Give the session that the request of a login names another id, and the user who has logged in by it.

    It must have no owner yet, or be the user's. Nothing happens if its client cannot learn another id, or if
    its endpoint does not take Django's login: its client would lose it. Raises SessionNotFound.
    """
    session, _ = await admit_to_view(exchange, session_id, user)
    takes_logins = any(each.uses_cookies for each in get_authenticators(session.server))
    if takes_logins and session.can_learn_id:
        await arotate_session(session.key, owner=user_owner(user.pk))


async def _principal_in_view(exchange: Exchange, session: SessionRecord, user: Any | None) -> Principal:
    if "authorization" in exchange.headers:
        # Tokens are issued for the endpoint, and not for the view.
        at_endpoint = replace(exchange, endpoint=session.server, path=exchange.path + session.server)
        with suppress(AccessDenied):
            principal, _ = await authenticate(at_endpoint, get_authenticators(session.server))
            if not principal.is_anonymous and not principal.lacks(required_scopes(session.server)):
                return principal
    return ANONYMOUS if user is None else Principal(DJANGO, str(user.pk), scopes=None, user=user)
