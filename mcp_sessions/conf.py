"""MCP_SESSIONS, read through a typed view at every access."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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

    CHANNEL_LAYER: str | None = "default"
    """Alias of the Channels layer that rings between processes; None: they only poll."""
    POLL_SECONDS: float = 0.2
    """How often a process looks for news from others while no shared channel layer rings."""
    WORKER_TIMEOUT: float = 15
    """Seconds after which a worker that is not heard of is taken for dead; it beats every third of them."""
    EVENT_SECONDS: float = 3600
    """Seconds for which events are kept after they were delivered, and streams after they were left."""
    MAX_EVENTS: int = 1000
    """Delivered events kept of one open stream."""
    MAX_PENDING: int | None = 1000
    """Messages that wait for a session while it has no open stream; past it the oldest is dropped."""

    SESSION_WARNING_SECONDS: float | None = 60
    """The guide's clients are warned on their open streams so many seconds before the end; None: not."""
    DRAIN_SECONDS: float = 20
    """A stopping process lets running calls finish for so many seconds."""

    MAX_BODY_BYTES: int = 4 * 1024 * 1024
    MAX_DEPTH: int = 100
    """Levels of objects and arrays in one body."""
    MAX_BATCH: int = 50
    """Messages in one batch of 2025-03-26."""
    MAX_DATA_BYTES: int = 1024 * 1024
    """A session's data as JSON."""

    ALLOWED_ORIGINS: tuple[str, ...] | list[str] = ()
    """Origins of browsers, besides the endpoint's own, that may call it; "*" for any."""
    STATELESS_REVISIONS: bool = False
    """Whether 2026-07-28, which has no sessions, is served; else its clients are sent to the handshake."""
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
    served = {
        path: entry if isinstance(entry, str) else entry["SERVER"]
        for path, entry in app_settings.SERVERS.items()
    }
    if app_settings.SERVER:
        served.setdefault(DEFAULT_PATH, app_settings.SERVER)
    if not served:
        raise ConfigurationError(
            'MCP_SESSIONS names no server object. Add "SERVER": "package.module:object" to it.'
        )
    return served


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in MCP_SESSIONS that cannot work; `id` is the system check's number."""

    id: str
    message: str
    hint: str


def problems() -> list[Problem]:
    """What is wrong with MCP_SESSIONS; the checks show it, and the mount refuses to start on it."""
    chosen = getattr(settings, "MCP_SESSIONS", {})
    if not isinstance(chosen, dict):
        return [
            Problem(
                "E001",
                "MCP_SESSIONS is not a dict.",
                'Write MCP_SESSIONS = {"SERVER": "package.module:object"}.',
            )
        ]
    found = [*_server_problems(chosen), *_option_problems(chosen, "")]
    servers = chosen.get("SERVERS", {})
    for path, entry in servers.items() if isinstance(servers, dict) else ():
        if isinstance(entry, dict):
            found += _option_problems({k: v for k, v in entry.items() if k != "SERVER"}, f" for {path}")
    return found


def _server_problems(chosen: Mapping[str, Any]) -> Iterator[Problem]:
    server, servers = chosen.get("SERVER"), chosen.get("SERVERS", {})
    if not server and not servers:
        hint = 'Add "SERVER": "package.module:object" to MCP_SESSIONS.'
        yield Problem("E002", "MCP_SESSIONS names no server object.", hint)
    if server is not None and not isinstance(server, str):
        yield Problem("E003", "SERVER is not a dotted path.", 'Write it as "package.module:object".')
    if not isinstance(servers, dict):
        yield Problem("E003", "SERVERS is not a dict.", 'Write it as {"/path": "package.module:object"}.')
        return
    if server and DEFAULT_PATH in servers:
        hint = f"Name the one for {DEFAULT_PATH} in one of them."
        yield Problem("E003", f"SERVER and SERVERS both have a server object for {DEFAULT_PATH}.", hint)
    for path, entry in servers.items():
        if not isinstance(path, str) or not path.startswith("/") or path.rstrip("/") != path:
            yield Problem(
                "E004", f"SERVERS: {path!r} is not a path.", 'Begin it with "/" and end it without.'
            )
        if not isinstance(entry["SERVER"] if isinstance(entry, dict) and "SERVER" in entry else entry, str):
            hint = 'Write "package.module:object", or {"SERVER": "package.module:object", …options}.'
            yield Problem("E003", f"SERVERS: the entry for {path!r} names no server object.", hint)


def _option_problems(chosen: Mapping[str, Any], where: str) -> Iterator[Problem]:
    for name, value in chosen.items():
        if name not in option_names():
            close = difflib.get_close_matches(str(name), sorted(option_names()), 1, 0.75)
            hint = f"Did you mean {close[0]}?" if close else "docs/settings.md lists the options."
            yield Problem("E005", f"MCP_SESSIONS{where} has no option {name!r}.", hint)
        elif (wanted := _WANTED.get(name)) and not wanted[1](value):
            yield Problem(
                "E006", f"MCP_SESSIONS{where}: {name} = {value!r} cannot be.", f"It is {wanted[0]}."
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _is_text_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and bool(value))


def _is_backend(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("BACKEND"), str)
        and set(value) <= {"BACKEND", "OPTIONS"}
    )


_SECONDS = ("a number of seconds greater than 0", _is_number)
_SECONDS_OR_NONE = (
    "a number of seconds greater than 0, or None",
    lambda value: value is None or _is_number(value),
)
_COUNT = ("a whole number greater than 0", _is_count)
_COUNT_OR_NONE = ("a whole number greater than 0, or None", lambda value: value is None or _is_count(value))
_BOOLEAN = ("True or False", lambda value: isinstance(value, bool))

_WANTED: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "SESSION_STORE": ('{"BACKEND": dotted path, "OPTIONS": {…}}', _is_backend),
    "STORE_THREADS": _COUNT,
    "TOOL_THREADS": _COUNT,
    "SESSION_TIMEOUT": _SECONDS,
    "SESSION_REFRESH_THRESHOLD": _SECONDS_OR_NONE,
    "TOUCH_SECONDS": _SECONDS,
    "SESSION_CLEANUP_INTERVAL": _SECONDS,
    "PURGE_BATCH": _COUNT,
    "MAX_CONNECTIONS_PER_SESSION": _COUNT_OR_NONE,
    "EDIT_TIMEOUT": _SECONDS,
    "HEARTBEAT_SECONDS": _SECONDS,
    "STREAM_AFTER_SECONDS": _SECONDS,
    "RETRY_MILLISECONDS": _COUNT,
    "PRIMING_EVENTS": _BOOLEAN,
    "CLIENT_REPLY_SECONDS": _SECONDS,
    "CHANNEL_LAYER": ("the alias of a channel layer, or None", _is_text_or_none),
    "POLL_SECONDS": _SECONDS,
    "WORKER_TIMEOUT": _SECONDS,
    "EVENT_SECONDS": _SECONDS,
    "MAX_EVENTS": _COUNT,
    "MAX_PENDING": _COUNT_OR_NONE,
    "SESSION_WARNING_SECONDS": _SECONDS_OR_NONE,
    "DRAIN_SECONDS": _SECONDS,
    "MAX_BODY_BYTES": _COUNT,
    "MAX_DEPTH": _COUNT,
    "MAX_BATCH": _COUNT,
    "MAX_DATA_BYTES": _COUNT,
    "ALLOWED_ORIGINS": ("a list of origins, such as https://app.example.com", _is_texts),
    "STATELESS_REVISIONS": _BOOLEAN,
    "POST_THROUGH_DJANGO": _BOOLEAN,
}
