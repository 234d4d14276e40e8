"""How async code runs the blocking methods of a store."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Runs(ABC):
    """The base of all async variants."""

    @abstractmethod
    async def arun(self, method: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one of the blocking methods off the loop."""

    def start_thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        """A thread, started, in which `work` may use the blocking methods, and which leaves nothing open."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:  # noqa: B027  a store may have nothing to give back
        """Give back threads and connections. The store is not used afterwards."""
