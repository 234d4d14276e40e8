"""The authentication that a server object brings, as the settings' own is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.core.signals import setting_changed


@dataclass(frozen=True, slots=True)
class ServerAuth:
    """The authentication that a server object brings.

    `verifier` has `verify_token`, as the SDK's TokenVerifier. `accepts_resource` decides by the resource
    that a token was issued for (RFC 8707) whether it is accepted; None accepts each. `url` is the
    resource's own. `challenge_scopes` gives the scopes that a client must ask for to get these: some
    authorization servers have other names for them. `problem` says what of it cannot be honoured here.
    The rest is what the metadata says (RFC 9728).
    """

    verifier: Any
    url: str | None = None
    authorization_servers: tuple[str, ...] = ()
    required_scopes: frozenset[str] = frozenset()
    scopes_supported: tuple[str, ...] = ()
    accepts_resource: Callable[[str | None], bool] | None = None
    challenge_scopes: Callable[[Sequence[str]], Sequence[str]] = field(default=list)
    problem: str = ""
    name: str = ""
    documentation: str = ""


NONE = ServerAuth(None)
"""What a server object without authentication says: nothing."""

Find = Callable[[str], ServerAuth | None]

_find: list[Find] = []


def find_server_auth_by(find: Find) -> None:
    """Say who reads server objects: the package that may import their libraries is above this one."""
    _find[:] = [find]


@cache
def server_auth(endpoint: str) -> ServerAuth | None:
    """The authentication that the endpoint's server object brings. Raises ConfigurationError."""
    return _find[0](endpoint) if _find else None


def _forget(*, setting: str, **_: object) -> None:
    if setting == "MCP_SESSIONS":
        server_auth.cache_clear()


setting_changed.connect(_forget)
