"""The base that a store of one's own may stand on, and the store in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, ParamSpec, TypeVar

from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.stores.memory.claims import Claims
from mcp_sessions.stores.memory.data import SessionData
from mcp_sessions.stores.memory.sessions import Sessions
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.streams import Streams
from mcp_sessions.stores.memory.workers import Workers

P = ParamSpec("P")
R = TypeVar("R")


class StateSessionStore(Sessions, SessionData, Streams, Claims, Workers, BaseSessionStore):
    """A store whose methods change one plain state. A subclass has the method `transaction`.

    That is a context manager. It gives the State to one caller at a time, of all processes that share the
    store, and keeps the changes if its block ends without an exception. Transactions are never nested. It
    raises StoreUnavailable if the state cannot be read or written.
    """

    async def arun(self, method: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(method, *args, **kwargs)


class InMemorySessionStore(StateSessionStore):
    """Keeps sessions in this process: no other sees them, and they end with it."""

    shared_by_processes: ClassVar[bool] = False

    def __init__(self) -> None:
        self._state = State()
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[State]:
        with self._lock:
            yield self._state

    async def arun(self, method: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the method in place, after whatever else is ready: a thread would cost more than the method."""
        await asyncio.sleep(0)
        return method(*args, **kwargs)
