"""Wrappers of the functions of tools, resources and prompts."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FunctionType
from typing import Any

from asgiref.sync import iscoroutinefunction

Function = Callable[..., Any]


class Wrappers:
    """Makes wrappers of one kind, and gives the same function the same wrapper every time.

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


def within(function: Function, context: Callable[[], AbstractContextManager[None]]) -> Function:
    """A function of the same kind, synchronous or not, that runs this one inside a new context manager."""

    async def acall(*args: Any, **kwargs: Any) -> Any:
        with context():
            return await function(*args, **kwargs)

    def call(*args: Any, **kwargs: Any) -> Any:
        with context():
            return function(*args, **kwargs)

    return acall if is_async(function) else call


def is_async(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    # An object may be called like an asynchronous function.
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)
