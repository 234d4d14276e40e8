"""Requests that begin to watch something are asked about (see security.watching), in every revision."""

from __future__ import annotations

from functools import partial
from typing import Any

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from mcp_sessions import jsonrpc
from mcp_sessions.protocol.handlers import Handler, Request, wrap_handler
from mcp_sessions.security.watching import Watched, find_hook, may_watch
from mcp_sessions.state import get_principal


def add(low: Server[Any], endpoint: str) -> None:
    """Have a prepared copy of a server ask. Raises ConfigurationError if MAY_WATCH names no function."""
    find_hook(endpoint)
    wrap_handler(low, "resources/subscribe", partial(_subscribe, endpoint))
    wrap_handler(low, "subscriptions/listen", partial(_listen, endpoint))


async def _subscribe(endpoint: str, handler: Handler, ctx: Request, params: Any) -> Any:
    await _check(endpoint, Watched((str(params.uri),)))
    return await handler(ctx, params)


async def _listen(endpoint: str, handler: Handler, ctx: Request, params: Any) -> Any:
    wanted = params.notifications
    lists = {
        "tools": wanted.tools_list_changed,
        "prompts": wanted.prompts_list_changed,
        "resources": wanted.resources_list_changed,
    }
    uris = tuple(map(str, wanted.resource_subscriptions or ()))
    await _check(endpoint, Watched(uris, tuple(name for name, is_wanted in lists.items() if is_wanted)))
    return await handler(ctx, params)


async def _check(endpoint: str, watched: Watched) -> None:
    if not await may_watch(get_principal(), endpoint, watched):
        text = "You may not watch this. Ask whoever runs the server for access."
        raise MCPError(jsonrpc.INVALID_PARAMS, text, {"reason": "watching_refused"})
