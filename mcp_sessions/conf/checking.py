"""Mistakes in MCP_SESSIONS that its values show."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

from mcp_sessions.conf.kinds import is_path
from mcp_sessions.conf.settings import DEFAULT_PATH, OPTIONS, AppSettings, served_paths

LISTED: Final = 'The documentation\'s page "Settings" lists the options.'


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in MCP_SESSIONS; `id` is the number of the system check."""

    id: str
    message: str
    hint: str


def problems() -> list[Problem]:
    """The mistakes in MCP_SESSIONS. The system checks show them, and the mount refuses to start on them."""
    chosen = getattr(settings, "MCP_SESSIONS", {})
    if not isinstance(chosen, dict):
        hint = 'Write MCP_SESSIONS = {"SERVER": "package.module:object"}.'
        return [Problem("E001", "MCP_SESSIONS is not a dict.", hint)]
    servers = chosen.get("SERVERS", {})
    entries = servers.items() if isinstance(servers, dict) else ()
    found = [
        *_server_problems(chosen),
        *_option_problems(chosen),
        *(
            each
            for path, entry in entries
            if isinstance(entry, dict)
            for each in _entry_problems(path, entry)
        ),
    ]
    return found or list(_path_problems())


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
        if not is_path(path):
            hint = 'Begin it with "/" and end it without.'
            yield Problem("E004", f"SERVERS: {path!r} is not a path.", hint)
        if not isinstance(entry["SERVER"] if isinstance(entry, dict) and "SERVER" in entry else entry, str):
            hint = 'Write "package.module:object", or {"SERVER": "package.module:object", …options}.'
            yield Problem("E003", f"SERVERS: the entry for {path!r} names no server object.", hint)


def _path_problems() -> Iterator[Problem]:
    """Problems of paths that two endpoints would serve, once each value is right for itself."""
    owners = {path: path for path in served_paths()}
    for endpoint in served_paths():
        for path in AppSettings(endpoint).SSE_PATHS:
            if (owner := owners.setdefault(path, f"{endpoint} (SSE_PATHS)")) != f"{endpoint} (SSE_PATHS)":
                message = f"SSE_PATHS of {endpoint}: {path} is a path of {owner} already."
                yield Problem("E033", message, "Give each endpoint paths of its own.")


def _entry_problems(path: Any, entry: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of an endpoint's own options. An option of the whole process would have no effect there."""
    for_process = {name for name, option in OPTIONS.items() if option.for_process}
    for name in sorted(entry.keys() & for_process):
        message = f"MCP_SESSIONS for {path}: {name} holds for the whole process, not for one endpoint."
        yield Problem("E010", message, "Set it in MCP_SESSIONS itself, outside of SERVERS.")
    own = {name: value for name, value in entry.items() if name not in {"SERVER", *for_process}}
    yield from _option_problems(own, f" for {path}")


def _option_problems(chosen: Mapping[str, Any], where: str = "") -> Iterator[Problem]:
    for name, value in chosen.items():
        if name not in OPTIONS:
            close = difflib.get_close_matches(str(name), sorted(OPTIONS), 1, 0.75)
            hint = f"Did you mean {close[0]}?" if close else LISTED
            yield Problem("E005", f"MCP_SESSIONS{where} has no option {name!r}.", hint)
        elif (kind := OPTIONS[name].kind) and not kind.admits(value):
            yield Problem("E006", f"MCP_SESSIONS{where}: {name} is {value!r}.", f"It must be {kind.words}.")
