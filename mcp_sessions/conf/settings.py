"""MCP_SESSIONS as the app reads it."""

from __future__ import annotations

from typing import Final

from mcp_sessions.conf.option import OptionGroup, options_of
from mcp_sessions.conf.options.access import Access
from mcp_sessions.conf.options.bounds import Bounds
from mcp_sessions.conf.options.ids import SessionIds
from mcp_sessions.conf.options.lifetimes import Lifetimes
from mcp_sessions.conf.options.limits import Limits
from mcp_sessions.conf.options.observing import Observing
from mcp_sessions.conf.options.once import OnceOnly
from mcp_sessions.conf.options.purging import Purging
from mcp_sessions.conf.options.serving import HANDSHAKE_REVISIONS, MODERN_REVISIONS, Serving
from mcp_sessions.conf.options.storage import Storage
from mcp_sessions.conf.options.streams import Streams
from mcp_sessions.conf.options.workers import Workers
from mcp_sessions.exceptions import ConfigurationError

DEFAULT_PATH: Final = "/mcp"


class AppSettings(
    Serving,
    Access,
    Storage,
    SessionIds,
    Lifetimes,
    Purging,
    Limits,
    Bounds,
    OnceOnly,
    Streams,
    Workers,
    Observing,
):
    """The options with the project's values; nothing is cached, so tests may override MCP_SESSIONS.

    `AppSettings(path)` has the values of the endpoint at that path, `app_settings` those of the process.
    """


GROUPS: Final[tuple[type[OptionGroup], ...]] = AppSettings.__bases__
OPTIONS: Final = options_of(*GROUPS)
"""Every option by its name."""

app_settings: Final = AppSettings()


def handshake_revisions(path: str) -> tuple[str, ...]:
    """The revisions with a handshake that the endpoint serves, from oldest to newest."""
    return _served(path, HANDSHAKE_REVISIONS)


def modern_revisions(path: str) -> tuple[str, ...]:
    """The revisions without a handshake that the endpoint serves, from oldest to newest."""
    return _served(path, MODERN_REVISIONS)


def _served(path: str, revisions: tuple[str, ...]) -> tuple[str, ...]:
    listed = AppSettings(path).REVISIONS
    return tuple(revision for revision in revisions if revision in listed)


def sse_paths() -> dict[str, str]:
    """Path → endpoint, of the paths of HTTP+SSE that an endpoint has besides its own."""
    return {path: endpoint for endpoint in served_paths() for path in AppSettings(endpoint).SSE_PATHS}


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
