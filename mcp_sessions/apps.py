"""The app, as INSTALLED_APPS knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.db.backends.base.base import NO_DB_ALIAS, BaseDatabaseWrapper
from django.db.backends.signals import connection_created

if TYPE_CHECKING:
    from mcp_sessions.security.serverauth import ServerAuth


class MCPSessionsConfig(AppConfig):
    name = "mcp_sessions"
    verbose_name = "MCP sessions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mcp_sessions import checks  # noqa: F401  registers the system checks
        from mcp_sessions.accounts import follow_users
        from mcp_sessions.logs import keep_lines_whole
        from mcp_sessions.metrics import listen
        from mcp_sessions.security.redaction import redact_loggers
        from mcp_sessions.security.serverauth import find_server_auth_by

        find_server_auth_by(_find_server_auth)
        listen()
        follow_users()
        redact_loggers()
        keep_lines_whole()
        connection_created.connect(_leave_test_databases)
        _show_debug_lines()


def _find_server_auth(endpoint: str) -> ServerAuth | None:
    from mcp_sessions.protocol.serverauth import find_server_auth

    return find_server_auth(endpoint)


def _show_debug_lines() -> None:
    """With SESSION_DEBUG at any endpoint: the loggers are the process's, the lines the endpoint's."""
    from mcp_sessions.conf import AppSettings, problems, served_paths
    from mcp_sessions.logs import show

    # What is wrong with the options, the checks say.
    if not problems() and any(AppSettings(path).SESSION_DEBUG for path in served_paths()):
        show()


def leave_databases() -> None:
    """Stop what runs in the background and close the connections of this app; from synchronous code.

    All of it begins again when it is needed.
    """
    from mcp_sessions.runtime import stop
    from mcp_sessions.security.authentication.threads import close_database_threads
    from mcp_sessions.stores import close_stores

    stop()
    close_stores()
    close_database_threads()


def _leave_test_databases(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Django connects to no database in particular to create or drop a test's, which nobody may be using."""
    if connection.alias == NO_DB_ALIAS:
        leave_databases()
