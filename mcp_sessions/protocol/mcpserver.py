"""The official SDK's MCPServer's side of things."""

from __future__ import annotations

import copy
from collections import UserDict
from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any, NoReturn

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.subscriptions import SubscriptionBus

from mcp_sessions.protocol.components import wrapped, wrapped_tool
from mcp_sessions.protocol.mistakes import refuse, refuse_unknown_prompts


def wrap_components(author: MCPServer[Any], low: Server[Any], bus: SubscriptionBus | None = None) -> None:
    """Wrap every tool, resource and prompt of `author`, those added later included.

    Its handlers are given a double of it, which looks up copies. `bus` is where changes are published that
    the author's tools notify clients of.
    """
    double = _double(author, bus)
    for method in ("tools/call", "resources/read", "prompts/get"):
        _give(low, method, author, double)
    refuse_unknown_prompts(author, low)


def _refuse_call(message: str) -> NoReturn:
    raise ToolError(message)


class _Components(UserDict[str, Any]):
    """An author's components by name: whoever looks one up gets a copy, what is added is the author's."""

    def __init__(self, components: dict[str, Any], change: Callable[[Any], Any]) -> None:
        self.data = components
        self._change = change

    def __getitem__(self, name: str) -> Any:
        return self._change(self.data[name])


def _double(author: MCPServer[Any], bus: SubscriptionBus | None) -> MCPServer[Any]:
    """The same server, with the same attributes now and later, but for what its managers look up."""
    tool = partial(wrapped_tool, refuse=_refuse_call)
    resource = partial(wrapped, refuse=refuse)
    checked = partial(wrapped, refuse=refuse, checks_arguments=True)
    changes: dict[str, dict[str, Callable[[Any], Any]]] = {
        "_tool_manager": {"_tools": tool},
        "_resource_manager": {"_resources": resource, "_templates": checked},
        "_prompt_manager": {"_prompts": checked},
    }
    looked_up = {name: property(partial(_manager, name, each)) for name, each in changes.items()}
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
        low.add_request_handler(method, entry.params_type, handler)
