"""System checks: what is wrong with MCP_SESSIONS is said at the start, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Warning
from django.urls import Resolver404, resolve

from mcp_sessions.conf import AppSettings, app_settings, problems, served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.protocol.servers import load
from mcp_sessions.stores import get_store


@checks.register("mcp_sessions")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Every option known and possible, every server object and the store to be had."""
    found: list[CheckMessage] = [
        Error(problem.message, hint=problem.hint, id=f"mcp_sessions.{problem.id}") for problem in problems()
    ]
    return found or [*_check_servers(), *_check_store(), *_check_urls()]


@checks.register("mcp_sessions")
def check_sqlite(**_: Any) -> list[CheckMessage]:
    """SQLite fails concurrent writers at once unless its transactions begin as writers."""
    alias = app_settings.SESSION_STORE.get("OPTIONS", {}).get("alias", "default")
    if not _is_deferred_sqlite(settings.DATABASES.get(alias, {})):
        return []
    return [
        Warning(
            f"The SQLite database {alias!r} begins its transactions as readers.",
            hint='Set OPTIONS["transaction_mode"] to "IMMEDIATE": otherwise concurrent requests fail with '
            '"database is locked".',
            id="mcp_sessions.W001",
        )
    ]


def _check_servers() -> Iterator[CheckMessage]:
    for path, dotted_path in served_paths().items():
        try:
            load(dotted_path)
        except ConfigurationError as error:
            hint = 'Name it as "package.module:object"; the module must be importable.'
            yield Error(str(error), hint=hint, obj=path, id="mcp_sessions.E007")


def _check_urls() -> Iterator[CheckMessage]:
    for path in served_paths():
        if not AppSettings(path).POST_THROUGH_DJANGO:
            continue
        try:
            resolve(path)
        except Resolver404:
            hint = 'Add path("", include("mcp_sessions.urls")) to the project\'s urlpatterns.'
            message = f"POST_THROUGH_DJANGO is on for {path}, and Django has no such URL."
            yield Error(message, hint=hint, obj=path, id="mcp_sessions.E009")


def _check_store() -> Iterator[CheckMessage]:
    try:
        get_store()
    except (ConfigurationError, ImportError, TypeError) as error:
        hint = "BACKEND is the dotted path of a BaseSessionStore, OPTIONS what its constructor takes."
        yield Error(f"SESSION_STORE cannot be made: {error}", hint=hint, id="mcp_sessions.E008")


def _is_deferred_sqlite(database: dict[str, Any]) -> bool:
    mode = database.get("OPTIONS", {}).get("transaction_mode")
    return database.get("ENGINE", "").endswith("sqlite3") and str(mode).upper() not in {
        "IMMEDIATE",
        "EXCLUSIVE",
    }
