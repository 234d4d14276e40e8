"""Whether a tool's function has begun: a call that fails earlier (its arguments are wrong) did nothing."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Beginning:
    """Of one call. Where it cannot be seen that the function begins, it counts as begun."""

    def __init__(self) -> None:
        self.has_begun = True
        self._is_seen = False

    def will_be_seen(self) -> None:
        """The tool was found, and says when it begins; what it calls itself begins later."""
        if not self._is_seen:
            self._is_seen, self.has_begun = True, False

    def begin(self) -> None:
        self.has_begun = True


_current: ContextVar[Beginning | None] = ContextVar("mcp_beginning", default=None)
_wrappers: weakref.WeakValueDictionary[int, Callable[..., Any]] = weakref.WeakValueDictionary()
"""By the id of the function that each wraps, and so keeps; server libraries cache schemas by function."""


@contextmanager
def seen(beginning: Beginning) -> Iterator[None]:
    """Around a call of which it matters whether its function has begun."""
    token = _current.set(beginning)
    try:
        yield
    finally:
        _current.reset(token)


def noting_begin(tool: Any) -> Any:
    """The tool; where it matters a copy of it, whose function says that it begins."""
    beginning, function = _current.get(), getattr(tool, "fn", None)
    if beginning is None or function is None:
        return tool
    beginning.will_be_seen()
    return tool.model_copy(update={"fn": _wrapper(function)})


def _wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    if (known := _wrappers.get(id(function))) is not None:
        return known

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        _begin()
        return await function(*args, **kwargs)

    @functools.wraps(function)
    def call_in_thread(*args: Any, **kwargs: Any) -> Any:
        _begin()
        return function(*args, **kwargs)

    _wrappers[id(function)] = made = call if inspect.iscoroutinefunction(function) else call_in_thread
    return made


def _begin() -> None:
    if (beginning := _current.get()) is not None:
        beginning.begin()
