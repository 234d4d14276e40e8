"""Wraps the tools, resources and prompts of a server object.

The author's own stay as they are: a copy of each runs, made when it is looked up, with a function around the
author's. Synchronous functions get fresh database connections (see threads), all get clear errors, and tools
get sessions.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections import UserDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final, NoReturn

from asgiref.sync import iscoroutinefunction
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.subscriptions import SubscriptionBus

from mcp_sessions.protocol import begun
from mcp_sessions.protocol.handles import with_sessions
from mcp_sessions.protocol.mistakes import Refuse, refuse, refuse_unknown_prompts, refusing_arguments
from mcp_sessions.protocol.threads import fresh_connections
from mcp_sessions.protocol.tool_errors import clear_errors
from mcp_sessions.runtime import run_sync
from mcp_sessions.state import session_parameters

Function = Callable[..., Any]


# -- functions -------------------------------------------------------------------------------------


class Wrappers:
    """Makes wrappers, and gives the same function the same one every time.

    Server libraries cache schemas by function. A wrapper is freed with the last component that has it.
    """

    def __init__(self, make: Callable[..., Function]) -> None:
        self._make = make
        # By the function's id: it need not be hashable, and its wrapper keeps it alive.
        self._known: weakref.WeakValueDictionary[object, Function] = weakref.WeakValueDictionary()
        self._made: weakref.WeakSet[Function] = weakref.WeakSet()

    def of(self, function: Function, *more: object) -> Function:
        """The wrapper that `make(function, *more)` returned the first time. A wrapper is its own."""
        if isinstance(function, FunctionType) and function in self._made:
            return function
        key = (id(function), *more)
        if (known := self._known.get(key)) is None:
            known = self._known[key] = functools.wraps(function)(self._make(function, *more))
            self._made.add(known)
        return known


def _wrap(function: Function, refuse: Refuse, takes_sessions: bool, checks_arguments: bool) -> Function:
    name = getattr(function, "__name__", "?")
    wrapped = function if _is_async(function) else _within(function, fresh_connections)
    wrapped = _within(wrapped, begun.noted)
    if takes_sessions:
        wrapped = _given_sessions(wrapped, refuse)
    wrapped = _within(wrapped, partial(clear_errors, name, refuse))
    return _within(wrapped, partial(refusing_arguments, name, refuse)) if checks_arguments else wrapped


wrappers: Final = Wrappers(_wrap)
"""Two libraries, which have errors of their own, may serve the same function."""


def _within(function: Function, context: Callable[[], AbstractContextManager[None]]) -> Function:
    """A function of the same kind, synchronous or not, that runs this one inside a new context manager."""

    async def acall(*args: Any, **kwargs: Any) -> Any:
        with context():
            return await function(*args, **kwargs)

    def call(*args: Any, **kwargs: Any) -> Any:
        with context():
            return function(*args, **kwargs)

    return acall if _is_async(function) else call


def _given_sessions(function: Function, refuse: Refuse) -> Function:
    async def acall(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **await with_sessions(kwargs, refuse))

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **run_sync(with_sessions(kwargs, refuse)))

    return acall if _is_async(function) else call


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    # An object may be called like an asynchronous function.
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


# -- components ------------------------------------------------------------------------------------


def wrapped(
    component: Any, refuse: Refuse, *, takes_sessions: bool = False, checks_arguments: bool = False
) -> Any:
    """A copy of a component with a wrapped function; the component itself, if it has none.

    `takes_sessions` is for one with parameters that are sessions, and `checks_arguments` for one whose
    arguments are validated when its function is called.
    """
    if (function := getattr(component, "fn", None)) is None:
        return component
    wrapper = wrappers.of(function, refuse, takes_sessions, checks_arguments)
    return component.model_copy(update={"fn": wrapper})


def wrapped_tool(tool: Any, refuse: Refuse) -> Any:
    """The same of a tool."""
    if not hasattr(tool, "fn"):
        return tool
    begun.will_be_noted()
    return wrapped(tool, refuse, takes_sessions=bool(session_parameters(tool.parameters)))


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
