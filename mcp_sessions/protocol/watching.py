"""Requests that begin to watch something are asked about (see security.watching), in every revision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import HandlerEntry
from mcp.shared.exceptions import MCPError

from mcp_sessions import jsonrpc
from mcp_sessions.security.watching import Watched, find_hook, may_watch
from mcp_sessions.state import get_principal


def add(low: Server[Any], endpoint: str) -> None:
    """Have a prepared copy of a server ask. Raises ConfigurationError if MAY_WATCH names no function."""
    find_hook(endpoint)
    for method, watched_by in _WATCHED.items():
        _wrap(low, endpoint, method, watched_by)


def _wrap(low: Server[Any], endpoint: str, method: str, watched_by: Callable[[Any], Watched]) -> None:
    if (entry := low.get_request_handler(method)) is None:
        return

    async def handle(ctx: ServerRequestContext[Any, Any], params: Any) -> Any:
        if not await may_watch(get_principal(), endpoint, watched_by(params)):
            text = "You may not watch this. Ask whoever runs the server for access."
            raise MCPError(jsonrpc.INVALID_PARAMS, text, {"reason": "watching_refused"})
        return await entry.handler(ctx, params)

    low._request_handlers[method] = HandlerEntry(entry.params_type, handle)


def _listened_to(params: Any) -> Watched:
    wanted = params.notifications
    lists = {
        "tools": wanted.tools_list_changed,
        "prompts": wanted.prompts_list_changed,
        "resources": wanted.resources_list_changed,
    }
    uris = tuple(map(str, wanted.resource_subscriptions or ()))
    return Watched(uris, tuple(name for name, is_wanted in lists.items() if is_wanted))


_WATCHED: Final[Mapping[str, Callable[[Any], Watched]]] = {
    "subscriptions/listen": _listened_to,
    "resources/subscribe": lambda params: Watched((str(params.uri),)),
}
