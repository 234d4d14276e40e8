"""Session stores: one backend a package, chosen by SESSION_STORE and loaded late."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any, Final

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.stores.rows import KeepsRows, SessionRows

ROWS: Final = "mcp_sessions.stores.database.summary.SummaryRows"

_making: Final = threading.Lock()


def get_store() -> BaseSessionStore:
    """The process's session store, made at the first call."""
    # A cache alone lets two threads make one each, and what the first keeps in memory would be lost.
    with _making:
        return _make_store()


def get_rows() -> SessionRows | None:
    """What keeps a row a session for operators; None where the store itself does, or SESSION_ROWS is off."""
    if get_store().keeps_rows or not app_settings.SESSION_ROWS:
        return None
    with _making:
        return _make_rows()


def get_row_keeper() -> KeepsRows | None:
    """What has the rows of sessions, the store itself or what stands beside it; None where there are none."""
    store: Any = get_store()
    return store if store.keeps_rows else get_rows()


@lru_cache(maxsize=1)
def _make_store() -> BaseSessionStore:
    chosen = app_settings.SESSION_STORE
    store = import_string(chosen["BACKEND"])(**chosen.get("OPTIONS", {}))
    if not isinstance(store, BaseSessionStore):
        raise ConfigurationError(f"SESSION_STORE: {chosen['BACKEND']} is not a BaseSessionStore.")
    return store


@lru_cache(maxsize=1)
def _make_rows() -> SessionRows:
    rows: SessionRows = import_string(ROWS)()
    return rows


def _forget_stores(*, setting: str, **_: object) -> None:
    if setting in {"MCP_SESSIONS", "DATABASES"}:
        close_stores()


def close_stores() -> None:
    """Give back what the process's stores hold; others are made when they are asked for again."""
    if _make_store.cache_info().currsize:
        _make_store().close()
    if _make_rows.cache_info().currsize:
        _make_rows().close()
    _make_store.cache_clear()
    _make_rows.cache_clear()


setting_changed.connect(_forget_stores)
