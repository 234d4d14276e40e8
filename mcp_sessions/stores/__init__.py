"""Session stores: one backend a file, chosen by SESSION_STORE and loaded late."""

from __future__ import annotations

from functools import lru_cache

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.stores.base import BaseSessionStore


def get_store() -> BaseSessionStore:
    """The process's session store, made at the first call."""
    return _make_store()


@lru_cache(maxsize=1)
def _make_store() -> BaseSessionStore:
    chosen = app_settings.SESSION_STORE
    store = import_string(chosen["BACKEND"])(**chosen.get("OPTIONS", {}))
    if not isinstance(store, BaseSessionStore):
        raise ConfigurationError(f"SESSION_STORE: {chosen['BACKEND']} is not a BaseSessionStore.")
    return store


def _forget_store(*, setting: str, **_: object) -> None:
    if setting in {"MCP_SESSIONS", "DATABASES"}:
        if _make_store.cache_info().currsize:
            _make_store().close()
        _make_store.cache_clear()


setting_changed.connect(_forget_store)
