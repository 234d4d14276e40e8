"""Finds the synchronous functions of a server object and has their threads tended (see threads)."""

from __future__ import annotations

import functools
from typing import Any

from asgiref.sync import iscoroutinefunction
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import HandlerEntry
from mcp.server.mcpserver import MCPServer

from mcp_sessions.protocol.threads import tended


def tend(author: Any, low: Server[Any]) -> None:
    """Tend every synchronous tool, resource and prompt of `author`, those added later included.

    The official SDK's are looked at when a request for one arrives; FastMCP looks components up
    itself, and lets us see each one it found.
    """
    if isinstance(author, MCPServer):
        for method in ("tools/call", "resources/read", "prompts/get"):
            _look_first(low, method, author)
    elif not isinstance(author, Server):
        _tend_fastmcp(author)


def _tend_fastmcp(author: Any) -> None:
    from mcp_sessions.protocol.fastmcp import TendThreads  # only where FastMCP is installed

    if not any(isinstance(each, TendThreads) for each in author.transforms):
        author.add_transform(TendThreads())
    for provider in author.providers:
        # A server mounted under a namespace is wrapped once more.
        while hasattr(provider, "_inner"):
            provider = provider._inner
        if (mounted := getattr(provider, "server", None)) is not None:
            _tend_fastmcp(mounted)


def tend_component(component: Any) -> None:
    """Tend the function of one tool, resource, template or prompt, if it has a synchronous one."""
    function = getattr(component, "fn", None)
    if function is not None and not _is_async(function):
        component.fn = tended(function)


def _look_first(low: Server[Any], method: str, author: MCPServer[Any]) -> None:
    entry = low.get_request_handler(method)
    if entry is None:
        return

    async def handle(ctx: ServerRequestContext[Any, Any], params: Any) -> Any:
        for component in _components(author, method, params):
            tend_component(component)
        return await entry.handler(ctx, params)

    low._request_handlers[method] = HandlerEntry(entry.params_type, handle)


def _components(author: MCPServer[Any], method: str, params: Any) -> list[Any]:
    if method == "tools/call":
        return [author._tool_manager.get_tool(params.name)]
    if method == "prompts/get":
        return list(author._prompt_manager.list_prompts())
    return [*author._resource_manager.list_resources(), *author._resource_manager.list_templates()]


def _is_async(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
