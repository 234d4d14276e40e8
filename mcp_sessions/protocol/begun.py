"""Whether a tool's function has begun: a call that fails earlier (its arguments are wrong) did nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


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


current_beginning: ContextVar[Beginning | None] = ContextVar("mcp_beginning", default=None)
"""Of a call of which it matters whether its function has begun."""


def will_be_noted() -> None:
    """A tool was looked up whose function runs within noted()."""
    if (beginning := current_beginning.get()) is not None:
        beginning.will_be_seen()


@contextmanager
def noted() -> Iterator[None]:
    """Around a tool's function: it begins."""
    if (beginning := current_beginning.get()) is not None:
        beginning.begin()
    yield
