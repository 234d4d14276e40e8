"""The authenticators of each endpoint, constructed once per process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.security.authentication.base import BaseAuthenticator
from mcp_sessions.security.authentication.verifiers import VerifiedTokens
from mcp_sessions.security.serverauth import server_auth


@cache
def get_authenticators(endpoint: str) -> tuple[BaseAuthenticator, ...]:
    """The authenticators in the endpoint's AUTHENTICATORS, in order. Raises ConfigurationError.

    Without any, the one that verifies tokens as the endpoint's server object wants it, if that brings `auth`.
    """
    chosen = AppSettings(endpoint).AUTHENTICATORS
    if chosen:
        return tuple(_make(entry, endpoint) for entry in chosen)
    return _own_authenticators(endpoint)


def _own_authenticators(endpoint: str) -> tuple[BaseAuthenticator, ...]:
    own = server_auth(endpoint)
    if own is not None and own.problem:
        raise ConfigurationError(f"The auth of the server at {endpoint}: {own.problem} Set AUTHENTICATORS.")
    if own is None:
        return ()
    return (VerifiedTokens(endpoint, own.verifier, own.accepts_resource, own.authorization_servers),)


def _make(entry: str | Mapping[str, Any], endpoint: str) -> BaseAuthenticator:
    chosen: Mapping[str, Any] = {"BACKEND": entry} if isinstance(entry, str) else entry
    path, options = chosen["BACKEND"], chosen.get("OPTIONS", {})
    try:
        made = _construct(import_string(path.replace(":", ".")), endpoint, options)
    except (ImportError, TypeError, ValueError) as error:
        raise ConfigurationError(f"AUTHENTICATORS: {path}: {error}") from error
    if not isinstance(made, BaseAuthenticator):
        raise ConfigurationError(f"AUTHENTICATORS: {path} is not a BaseAuthenticator.")
    return made


def _construct(found: Any, endpoint: str, options: Mapping[str, Any]) -> Any:
    """An authenticator; of a server library's verifier, or a class of these, one that asks it."""
    if isinstance(found, type) and issubclass(found, BaseAuthenticator):
        return found(endpoint, **options)
    if isinstance(found, type) and hasattr(found, "verify_token"):
        return VerifiedTokens(endpoint, found(**options))
    if hasattr(found, "verify_token"):
        return VerifiedTokens(endpoint, found, **options)
    return found(endpoint, **options)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "MCP_SESSIONS":
        get_authenticators.cache_clear()


setting_changed.connect(_forget)
