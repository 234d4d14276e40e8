"""Whether a tool's function has begun: a call that fails earlier (its arguments are wrong) did nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from mcp_sessions.protocol.wrappers import Wrappers, within


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
    return tool.model_copy(update={"fn": _noting.of(function)})


@contextmanager
def _noted() -> Iterator[None]:
    if (beginning := _current.get()) is not None:
        beginning.begin()
    yield


_noting: Final = Wrappers(lambda function: within(function, _noted))
