"""How the async variants of a store's methods run: all of them through `arun`."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class AsyncVariants(ABC):
    """The one async method that a store writes. Beside each plain method, its async variant calls it."""

    @abstractmethod
    async def arun(self, method: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one of the blocking methods off the loop."""

    def start_thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        """Start a thread in which `work` may use the blocking methods. It closes what it opened."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:  # noqa: B027  a store may have nothing to give back
        """Give back threads and connections. The store is not used afterwards."""
