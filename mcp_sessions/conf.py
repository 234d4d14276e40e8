"""MCP_SESSIONS, read through a typed view at every access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings

from mcp_sessions.exceptions import ConfigurationError

DEFAULT_PATH: Final = "/mcp"
DATABASE_STORE: Final = "mcp_sessions.stores.database.DatabaseSessionStore"


class AppSettings:
    """The options with their defaults. Instants of reading are instants of use: nothing is cached.

    `AppSettings(path)` is what holds for the endpoint at that path: its entry in SERVERS may
    override any option.
    """

    SERVER: str | None = None
    """Dotted path (`package.module:object`) of the server object served at /mcp."""
    SERVERS: Mapping[str, Any] = {}
    """Path → dotted path, or path → {"SERVER": dotted path, and options that differ there}."""

    SESSION_STORE: Mapping[str, Any] = {"BACKEND": DATABASE_STORE}
    STORE_THREADS: int = 4
    """Threads, and so database connections, a process keeps for the store."""
    TOOL_THREADS: int = 32
    """Threads a process keeps for the synchronous database work of asynchronous tools."""

    SESSION_TIMEOUT: float = 1800
    """Seconds without a request after which a session expires."""
    SESSION_REFRESH_THRESHOLD: float | None = None
    """A request moves the end of a session only when fewer seconds than this remain; None: always."""
    TOUCH_SECONDS: float = 10
    """Uses of a session are written at most once per so many seconds."""
    SESSION_CLEANUP_INTERVAL: float = 300
    """Seconds between two purges by Celery beat."""
    PURGE_BATCH: int = 500
    """Sessions deleted by one transaction of a purge."""
    MAX_CONNECTIONS_PER_SESSION: int | None = 3
    """Open GET streams of one session; at the limit the oldest is told and closed."""
    EDIT_TIMEOUT: float = 30
    """Seconds one edit() of a session's data may take, and another waits for it."""

    HEARTBEAT_SECONDS: float = 15
    """Seconds between two keep-alives on an open stream."""
    STREAM_AFTER_SECONDS: float = 1.0
    """A call that runs longer turns its reply into a stream, and becomes a row."""
    RETRY_MILLISECONDS: int = 1000
    """What clients are told to wait before they come back to a stream."""
    PRIMING_EVENTS: bool = True
    """Whether streams of clients of 2025-11-25 begin with an empty event that has an id."""
    CLIENT_REPLY_SECONDS: float = 600
    """Seconds a tool waits for the client's answer to elicitation, sampling or roots."""

    MAX_BODY_BYTES: int = 4 * 1024 * 1024
    MAX_BATCH: int = 50
    """Messages in one batch of 2025-03-26."""
    MAX_DATA_BYTES: int = 1024 * 1024
    """A session's data as JSON."""

    ALLOWED_ORIGINS: tuple[str, ...] | list[str] = ()
    """Origins of browsers, besides the endpoint's own, that may call it; "*" for any."""
    POST_THROUGH_DJANGO: bool = False
    """Whether the mount hands POST and DELETE to Django, so that the project's middleware runs."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path

    def __getattribute__(self, name: str) -> Any:
        if not name.isupper():
            return object.__getattribute__(self, name)
        chosen: Mapping[str, Any] = getattr(settings, "MCP_SESSIONS", {})
        path = object.__getattribute__(self, "_path")
        if path is not None:
            entry = chosen.get("SERVERS", {}).get(path)
            if isinstance(entry, Mapping) and name in entry:
                return entry[name]
        if name in chosen:
            return chosen[name]
        return object.__getattribute__(self, name)


app_settings = AppSettings()


def option_names() -> frozenset[str]:
    return frozenset(name for name in vars(AppSettings) if name.isupper())


def served_paths() -> dict[str, str]:
    """Path → dotted path of each server object. Raises ConfigurationError if none is named."""
    served = {path: entry if isinstance(entry, str) else entry["SERVER"] for path, entry in app_settings.SERVERS.items()}
    if app_settings.SERVER:
        served.setdefault(DEFAULT_PATH, app_settings.SERVER)
    if not served:
        raise ConfigurationError(
            'MCP_SESSIONS names no server object. Add "SERVER": "package.module:object" to it.'
        )
    return served
