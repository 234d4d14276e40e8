"""The principal: who sent a request, as an authenticator has found out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

MAX_OWNER_LENGTH: Final = 255
"""Characters of an owner that a store keeps."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request.

    `issuer` vouches for `subject`, and `client_id` acts for it (the terms of RFC 7519 and RFC 9068).
    `user` is the Django user, where there is one. `scopes` are what the credential permits; they are
    None where the credential has no scopes, as a Django session has none: then no scope is missing.
    `expires_at` is when the credential expires (an aware datetime), `claims` are what the issuer says
    besides, and `token` is the bearer token, for server libraries that want it. `access_token` is what a
    server library's own verifier made of the token: its get_access_token() returns that very object.
    """

    issuer: str = ""
    subject: str = ""
    client_id: str = ""
    scopes: frozenset[str] | None = frozenset()
    expires_at: datetime | None = None
    user: Any = field(default=None, repr=False)
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    token: str = field(default="", repr=False)
    access_token: Any = field(default=None, repr=False, compare=False)
    owner: str = field(init=False, compare=False)
    """The owner of this principal's sessions, as stores keep it; "" for anonymous requests.

    A refreshed token of the same user and client gives the same owner. Two principals never give the same.
    """

    def __post_init__(self) -> None:
        # Every request asks for it, and an authenticator may keep the principal for many requests.
        object.__setattr__(self, "owner", self._derive_owner())

    @property
    def is_anonymous(self) -> bool:
        return not (self.subject or self.client_id or self.user is not None)

    @property
    def fingerprint(self) -> str:
        """What names the credential itself where it can be named, and opens nothing; "" elsewhere."""
        return ""

    def _derive_owner(self) -> str:
        if self.is_anonymous:
            return ""
        if self.user is not None:
            return user_owner(self.user.pk)
        named = json.dumps([self.issuer, self.subject, self.client_id], separators=(",", ":"))
        if len(named) <= MAX_OWNER_LENGTH:
            return named
        return f"sha256:{hashlib.sha256(named.encode()).hexdigest()}"

    @property
    def user_id(self) -> str | None:
        """The primary key of the Django user, as text; else the subject. None for anonymous requests."""
        return str(self.user.pk) if self.user is not None else self.subject or None

    def lacks(self, scopes: frozenset[str]) -> frozenset[str]:
        """The scopes among these that the credential does not permit."""
        return frozenset() if self.scopes is None else scopes - self.scopes


ANONYMOUS: Final = Principal(scopes=None)
"""Nobody has identified themselves, and the endpoint permits that."""


def session_fingerprint(key: str) -> str:
    """What names a session of Django's, and opens nothing."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def user_id_of(owner: str) -> str | None:
    """The primary key of the Django user, as text, if an owner is one."""
    prefix = user_owner("")
    return owner.removeprefix(prefix) if owner.startswith(prefix) else None


def user_owner(primary_key: object) -> str:
    """The owner of a Django user's sessions."""
    return f"user:{primary_key}"
