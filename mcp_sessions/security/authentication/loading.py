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


@cache
def get_authenticators(endpoint: str) -> tuple[BaseAuthenticator, ...]:
    """The authenticators in the endpoint's AUTHENTICATORS, in order. Raises ConfigurationError."""
    return tuple(_make(entry, endpoint) for entry in AppSettings(endpoint).AUTHENTICATORS)


def _make(entry: str | Mapping[str, Any], endpoint: str) -> BaseAuthenticator:
    chosen: Mapping[str, Any] = {"BACKEND": entry} if isinstance(entry, str) else entry
    try:
        made = import_string(chosen["BACKEND"])(endpoint, **chosen.get("OPTIONS", {}))
    except (ImportError, TypeError) as error:
        raise ConfigurationError(f"AUTHENTICATORS: {chosen['BACKEND']}: {error}") from error
    if not isinstance(made, BaseAuthenticator):
        raise ConfigurationError(f"AUTHENTICATORS: {chosen['BACKEND']} is not a BaseAuthenticator.")
    return made


def _forget(*, setting: str, **_: object) -> None:
    if setting == "MCP_SESSIONS":
        get_authenticators.cache_clear()


setting_changed.connect(_forget)
