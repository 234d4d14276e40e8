"""What a process names once: its session store, the serializer, the channel layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.stores import get_rows, get_store
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.stores.storable import get_serializer

GUIDE_METHODS: Final = ("store", "retrieve", "delete")
"""Every store of the guide has these; that in Redis and that in a database have cleanup_expired too."""


def check_store() -> Iterator[CheckMessage]:
    backend: str = app_settings.SESSION_STORE["BACKEND"]
    try:
        found = import_string(backend)
        if (error := _incomplete(backend, found)) is not None:
            yield error
            return
        store = get_store()
    except Exception as error:  # A constructor may raise anything, and a check must not fall over it.
        message = f"SESSION_STORE cannot be made: {str(error).removeprefix('SESSION_STORE: ')}"
        hint = (
            "BACKEND is the dotted path of a BaseSessionStore, OPTIONS are the arguments of its constructor."
        )
        yield Error(message, hint=hint, id="mcp_sessions.E008")
        return
    yield from _check_sharing(backend, store)
    yield from _check_databases(store)


def _incomplete(backend: str, found: Any) -> CheckMessage | None:
    """What a class lacks that is to be a store; what else may be wrong get_store() says."""
    if not isinstance(found, type):
        return None
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    is_store = issubclass(found, BaseSessionStore)
    if (missing or not is_store) and all(hasattr(found, method) for method in GUIDE_METHODS):
        return Error(
            f"SESSION_STORE: {backend} has the guide's methods, which can keep neither streams nor limits.",
            hint="Make it a BaseSessionStore: store becomes create, and lease and release for the data; "
            "retrieve becomes load; delete becomes end; cleanup_expired becomes expire and purge. "
            "mcp_sessions.stores.memory.StateSessionStore has all of these, and leaves one method to write.",
            id="mcp_sessions.E013",
        )
    if missing and is_store:
        return Error(
            f"SESSION_STORE: {backend} does not define {', '.join(missing)}.",
            hint="mcp_sessions.stores.base describes each method. "
            "mcp_sessions.stores.memory.StateSessionStore has all of them, and leaves one method to write.",
            id="mcp_sessions.E014",
        )
    return None


def _check_sharing(backend: str, store: BaseSessionStore) -> Iterator[CheckMessage]:
    if not getattr(store, "shared_by_processes", True):
        yield Warning(
            f"SESSION_STORE: {backend} is not shared: each process has sessions of its own.",
            hint="Run one server process, or choose a store that several share: the database's, or Redis.",
            id="mcp_sessions.W002",
        )


def _check_databases(store: BaseSessionStore) -> Iterator[CheckMessage]:
    """Of the databases that sessions, or the rows about them, are in."""
    aliases = {getattr(each, "alias", None) for each in (store, get_rows())} - {None}
    for alias in sorted(map(str, aliases)):
        if alias not in settings.DATABASES:
            yield Error(
                f"SESSION_STORE: there is no database {alias!r}.",
                hint="Name one of DATABASES in its OPTIONS.",
                id="mcp_sessions.E008",
            )
        elif _is_deferred_sqlite(settings.DATABASES[alias]):
            yield Warning(
                f"The SQLite database {alias!r} begins its transactions as readers.",
                hint='Set OPTIONS["transaction_mode"] to "IMMEDIATE": otherwise concurrent requests fail '
                'with "database is locked".',
                id="mcp_sessions.W001",
            )


def _is_deferred_sqlite(database: dict[str, Any]) -> bool:
    mode = database.get("OPTIONS", {}).get("transaction_mode")
    return database.get("ENGINE", "").endswith("sqlite3") and str(mode).upper() not in {
        "IMMEDIATE",
        "EXCLUSIVE",
    }


def check_serializer() -> Iterator[CheckMessage]:
    try:
        get_serializer()
    except ConfigurationError as error:
        hint = "Name a module, a class or an object with dumps(data) and loads(text), json for instance."
        yield Error(str(error), hint=hint, id="mcp_sessions.E012")


def check_channel_layer() -> Iterator[CheckMessage]:
    alias, layers = app_settings.CHANNEL_LAYER, getattr(settings, "CHANNEL_LAYERS", {})
    # A project that never heard of layers has the default's name, and none.
    if alias is not None and alias not in layers and alias != "default":
        yield Error(
            f"CHANNEL_LAYER: there is no channel layer {alias!r}.",
            hint="Name one of CHANNEL_LAYERS, or None: then processes only poll.",
            id="mcp_sessions.E015",
        )
