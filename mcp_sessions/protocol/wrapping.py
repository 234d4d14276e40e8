"""Wraps the tools, resources and prompts of a server object.

The author's own stay as they are: a copy of each runs, made when it is looked up. Synchronous functions get
fresh database connections (see threads), all get clear errors, and tools get sessions.
"""

from __future__ import annotations

import copy
import functools
from collections import UserDict
from collections.abc import Callable
from types import MethodType
from typing import Any, NoReturn

from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import HandlerEntry
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.subscriptions import SubscriptionBus

from mcp_sessions.protocol.begun import noting_begin
from mcp_sessions.protocol.handles import with_sessions
from mcp_sessions.protocol.mistakes import checked, refuse, refuse_unknown_prompts
from mcp_sessions.protocol.threads import with_fresh_connections
from mcp_sessions.protocol.tool_errors import with_clear_errors


def wrap_components(author: Any, low: Server[Any], endpoint: str, bus: SubscriptionBus | None = None) -> None:
    """Wrap every tool, resource and prompt of `author`, those added later included.

    The handlers of the official SDK's server are given a double of it, which looks up copies. FastMCP
    looks components up itself, and lets a transform of ours change each one it found. `bus` is where
    changes are published that the author's tools notify clients of.
    """
    if isinstance(author, MCPServer):
        double = _double(author, bus)
        for method in ("tools/call", "resources/read", "prompts/get"):
            _give(low, method, author, double)
        refuse_unknown_prompts(author, low)
    elif not isinstance(author, Server):
        _wrap_fastmcp(author, endpoint)


def _wrap_fastmcp(author: Any, endpoint: str) -> None:
    from mcp_sessions.protocol.fastmcp import WrapComponents  # only where FastMCP is installed
    from mcp_sessions.protocol.faststate import keep_state

    keep_state(author, endpoint)

    if not any(isinstance(each, WrapComponents) for each in author.transforms):
        author.add_transform(WrapComponents())
    for provider in author.providers:
        # A server mounted under a namespace is wrapped once more.
        while hasattr(provider, "_inner"):
            provider = provider._inner
        if (mounted := getattr(provider, "server", None)) is not None:
            _wrap_fastmcp(mounted, endpoint)


def _tool(component: Any) -> Any:
    return with_clear_errors(with_sessions(noting_begin(with_fresh_connections(component)), _refuse), _refuse)


def _refuse(message: str) -> NoReturn:
    raise ToolError(message)


def _component(component: Any) -> Any:
    return with_clear_errors(with_fresh_connections(component), refuse)


def _checked_component(component: Any) -> Any:
    """The same of a prompt or template whose arguments are validated when it is called."""
    component = _component(component)
    return component.model_copy(update={"fn": checked(component.fn)})


class _Components(UserDict[str, Any]):
    """An author's components by name: whoever looks one up gets a copy, what is added is the author's."""

    def __init__(self, components: dict[str, Any], change: Callable[[Any], Any]) -> None:
        self.data = components
        self._change = change

    def __getitem__(self, name: str) -> Any:
        return self._change(self.data[name])


def _double(author: MCPServer[Any], bus: SubscriptionBus | None) -> MCPServer[Any]:
    """The same server, with the same attributes now and later, but for what its managers look up."""
    changes: dict[str, dict[str, Callable[[Any], Any]]] = {
        "_tool_manager": {"_tools": _tool},
        "_resource_manager": {"_resources": _component, "_templates": _checked_component},
        "_prompt_manager": {"_prompts": _checked_component},
    }
    looked_up = {name: property(functools.partial(_manager, name, each)) for name, each in changes.items()}
    if bus is not None:
        looked_up["_subscriptions"] = property(lambda _: bus)
    double: MCPServer[Any] = object.__new__(type(type(author).__name__, (type(author),), looked_up))
    double.__dict__ = author.__dict__
    return double


def _manager(name: str, changes: dict[str, Callable[[Any], Any]], double: MCPServer[Any]) -> Any:
    manager = copy.copy(double.__dict__[name])
    for components, change in changes.items():
        setattr(manager, components, _Components(getattr(manager, components), change))
    return manager


def _give(low: Server[Any], method: str, author: MCPServer[Any], double: MCPServer[Any]) -> None:
    """Have the author's own handler run on the double; one that was registered otherwise stays."""
    entry = low.get_request_handler(method)
    if entry is not None and getattr(entry.handler, "__self__", None) is author:
        handler = MethodType(getattr(entry.handler, "__func__"), double)  # noqa: B009
        low._request_handlers[method] = HandlerEntry(entry.params_type, handler)
