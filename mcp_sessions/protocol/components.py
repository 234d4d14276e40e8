"""Wraps tools, resources and prompts, of any server library.

The author's own stay as they are: a copy of each runs, made when it is looked up, with a function around the
author's. Synchronous functions get fresh database connections (see threads), all get clear errors, and tools
get sessions.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from types import FunctionType
from typing import Any, Final

from asgiref.sync import iscoroutinefunction

from mcp_sessions.protocol import begun
from mcp_sessions.protocol.handles import with_sessions
from mcp_sessions.protocol.mistakes import Refuse, refusing_arguments
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
