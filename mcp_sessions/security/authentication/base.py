"""What an authenticator is."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from django.utils import timezone

from mcp_sessions.exceptions import MalformedCredential
from mcp_sessions.exchange import Exchange
from mcp_sessions.principals import Principal

_TOKEN: Final = re.compile(r"[!#-+\--~]+")
"""Printable ASCII without spaces, quotes and commas: a little more than RFC 6750 (2.1) permits."""
_SECOND: Final = re.compile(r",\s*bearer\b", re.IGNORECASE)


class BaseAuthenticator(ABC):
    """Finds out who sent a request, by one kind of credential.

    AUTHENTICATORS names authenticators by dotted path. Each is constructed once per process and
    endpoint, with the endpoint's path and the OPTIONS from the setting. They are asked in order at every
    request, before anything else of the request is read, on the process's event loop: blocking work
    belongs in a thread.
    """

    checks_audience = False
    """Whether a credential must have been issued for the endpoint's URL, which must be known then."""
    authorization_servers: Sequence[str] = ()
    """Issuer URLs of the OAuth servers that issue its credentials, where AUTHORIZATION_SERVERS names none."""

    uses_cookies = False
    """Whether browsers send its credential by themselves; then pages of ALLOWED_ORIGINS may have it sent."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    @abstractmethod
    async def authenticate(self, exchange: Exchange) -> Principal | None:
        """The principal, or None if the request has no credential of this kind: the next one is asked.

        Raises InvalidCredential if it has one that is not valid; then no other authenticator is asked.
        """

    def can_end(self, principal: Principal) -> bool:
        """Whether the credential can become invalid while a stream is open: then is_current() is asked.

        By default: if it expires, or the class has an is_current() of its own.
        """
        has_own_way = type(self).is_current is not BaseAuthenticator.is_current
        return has_own_way or principal.expires_at is not None

    async def is_current(self, principal: Principal) -> bool:
        """Whether the credential that gave this principal is still valid.

        Asked while streams of the principal's are open, once per heartbeat for all of them; they end when
        it is not. By default the credential is valid until it expires.
        """
        return principal.expires_at is None or timezone.now() < principal.expires_at


def bearer_token(exchange: Exchange) -> str | None:
    """The token of an `Authorization: Bearer` header (RFC 6750, 2.1); None if there is none."""
    scheme, _, token = exchange.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def check_form(exchange: Exchange) -> None:
    """Raise MalformedCredential for a bearer token that is not sent as it must be (RFC 6750, 2 and 3.1)."""
    given = exchange.headers.get("authorization", "")
    if exchange.query("access_token"):
        raise MalformedCredential("Send the token in the Authorization header, and never in the URL.")
    if _SECOND.search(given):
        raise MalformedCredential("The request has more than one credential. Send one.")
    scheme, _, token = given.partition(" ")
    if scheme.lower() == "bearer" and not _TOKEN.fullmatch(token.strip()):
        raise MalformedCredential("The Authorization header has no token that can be read.")
