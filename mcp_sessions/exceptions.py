"""Everything this app raises.

MCPSessionsError
├── ConfigurationError
├── RequestError
│   ├── SessionNotFound
│   │   └── SessionDenied
│   ├── SessionConflict
│   ├── AuthenticationUnavailable
│   └── RateLimited
├── AccessDenied
│   ├── CredentialRequired
│   ├── MalformedCredential
│   ├── InvalidCredential
│   ├── InsufficientScope
│   └── CrossSiteRequest
├── NoSession
├── SessionEnded
├── SessionBusy
│   └── NestedEdit
├── LeaseLost
├── InvalidSessionData
├── UnreadableData
├── DuplicateIdentifier
├── RotationRefused
├── LimitReached
├── TooManyPendingRequests
└── StoreUnavailable
    ├── StoreNotMigrated
    └── StoreBusy
"""

from __future__ import annotations

import math
from typing import Any


class MCPSessionsError(Exception):
    """The base of every error of this app. Do not raise directly."""


class ConfigurationError(MCPSessionsError):
    """MCP_SESSIONS names something that is not there or cannot work."""


class RequestError(MCPSessionsError):
    """A request that is answered with an HTTP status and a JSON-RPC error.

    `status` is the HTTP status, `code` the JSON-RPC code, `data` what goes into the error's
    `data` member, `headers` what the answer carries besides.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: int = -32600,
        data: dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.data = data
        self.headers = headers


class SessionNotFound(RequestError):
    """No live session has this id, or it is somebody else's: the two look alike on purpose."""

    def __init__(self) -> None:
        super().__init__(
            404,
            "Session not found: it has ended or never existed. "
            "Send initialize without a session id to open another.",
            data={"reason": "session_not_found"},
        )


class SessionDenied(SessionNotFound):
    """Raised for a live session that this request may not use. Its client gets the answer of SessionNotFound.

    `key` is the session's; `reason` is for the security log.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__()
        self.key = key
        self.reason = reason


class SessionConflict(RequestError):
    """A request names two different sessions."""

    def __init__(self) -> None:
        super().__init__(
            400,
            "The request names two different sessions. Send the session id once.",
            data={"reason": "session_conflict"},
        )


class AuthenticationUnavailable(RequestError):
    """Raised when it cannot be found out now whether a credential is valid."""

    def __init__(self) -> None:
        super().__init__(
            503,
            "The credential cannot be verified right now. Try again in a moment.",
            code=-32603,
            data={"reason": "authentication_unavailable"},
            headers=(("Retry-After", "1"),),
        )


class RateLimited(RequestError):
    """Raised when a client sends more than a limit permits; `scope` is which one, a key of RATE_LIMITS."""

    def __init__(self, scope: str, retry_seconds: float) -> None:
        super().__init__(
            429,
            f"Too many requests ({scope}). Try again in {retry_seconds:.3g} seconds.",
            code=-32000,
            data={"reason": "rate_limited", "scope": scope, "retry_after": round(retry_seconds, 3)},
            headers=(("Retry-After", str(max(math.ceil(retry_seconds), 1))),),
        )
        self.retry_seconds = retry_seconds


class AccessDenied(MCPSessionsError):
    """The endpoint does not serve this request to its sender. Do not raise directly.

    `status` is the HTTP status, `code` the error of the challenge (RFC 6750, 3.1), or "" for none;
    `reason` is what the client's error says in `data`.
    """

    status = 401
    code = ""
    reason = "access_denied"


class CredentialRequired(AccessDenied):
    """Raised for a request without a credential that any authenticator of the endpoint recognises.

    `scopes` are what the request needs, besides those that every request to the endpoint needs.
    """

    reason = "not_authenticated"

    def __init__(self, *, is_unknown: bool = False, scopes: frozenset[str] = frozenset()) -> None:
        super().__init__("The credential is not valid." if is_unknown else "Authentication is required.")
        self.code = "invalid_token" if is_unknown else ""
        self.scopes = scopes


class MalformedCredential(AccessDenied):
    """Raised for a bearer token that is not sent as RFC 6750 has it: twice, in the query, or unreadable."""

    status = 400
    code = "invalid_request"
    reason = "invalid_request"


class InvalidCredential(AccessDenied):
    """Raised by an authenticator for a credential of its kind that is malformed, expired or revoked."""

    code = "invalid_token"
    reason = "invalid_token"


class InsufficientScope(AccessDenied):
    """Raised when the credential is valid and lacks a scope; `scopes` are all that the request needs."""

    status = 403
    code = "insufficient_scope"
    reason = "insufficient_scope"

    def __init__(self, scopes: frozenset[str]) -> None:
        super().__init__(f"The credential lacks a scope. Needed: {' '.join(sorted(scopes))}.")
        self.scopes = scopes


class CrossSiteRequest(AccessDenied):
    """Raised for a credential that a browser sends by itself, where another site may have made it send it."""

    status = 403
    reason = "csrf"

    def __init__(self) -> None:
        super().__init__(
            "A request with a cookie needs an Origin that is allowed, or Django's CSRF token in its header."
        )


class NoSession(MCPSessionsError):
    """Raised by get_session() where there is none.

    That is outside of calls, and in a call of an anonymous client of 2026-07-28.
    """


class SessionEnded(MCPSessionsError):
    """The session has ended, and what was to be written to it was not."""


class SessionBusy(MCPSessionsError):
    """Somebody else kept the session's data for editing longer than EDIT_TIMEOUT."""


class NestedEdit(SessionBusy):
    """edit() was entered inside edit() of the same session; it would wait for itself."""


class LeaseLost(MCPSessionsError):
    """The time for an edit ran out before it was finished. Nothing of it was written."""


class InvalidSessionData(MCPSessionsError):
    """What was put into a session's data, or is to be sent, cannot be serialized, or is too large."""


class UnreadableData(MCPSessionsError):
    """What a store has of a session was not written by this app, or with another SESSION_SERIALIZER."""


class DuplicateIdentifier(MCPSessionsError):
    """A new session drew an identifier that is taken. Draw another."""


class RotationRefused(MCPSessionsError):
    """Raised when a session is to have another id that its client cannot learn: nothing has changed.

    A client of the specification is given an id once, when it initializes. Its session can be ended instead.
    """


class LimitReached(MCPSessionsError):
    """There are as many live sessions as may be: of one principal, or (`in_all`) of the server."""

    def __init__(self, limit: int, *, in_all: bool) -> None:
        super().__init__(f"There are {limit} sessions already, and no more may be open at once.")
        self.limit = limit
        self.in_all = in_all


class TooManyPendingRequests(MCPSessionsError):
    """The session's client has so many unanswered requests that it is sent no other one."""


class StoreUnavailable(MCPSessionsError):
    """The session store cannot be reached right now."""


class StoreNotMigrated(StoreUnavailable):
    """Raised when the database lacks a table or a column: no waiting mends that, `manage.py migrate` does."""


class StoreBusy(StoreUnavailable):
    """The session store is there, but somebody else has locked what this needs."""
