"""Threads of the store's own, which keep their database connections."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar

from django.db import connections

from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import StoreBusy, StoreUnavailable
from mcp_sessions.stores.database.connections import (
    Watchdog,
    answer_seconds,
    in_time,
    is_read_by_loop,
    own_connection,
)
from mcp_sessions.stores.database.turns import Turns, row_of

if TYPE_CHECKING:
    from mcp_sessions.stores.database.reader import Reader

P = ParamSpec("P")
R = TypeVar("R")

BATCHES: Final = frozenset({"append", "touch", "mark_delivered"})
"""Who stores much at once goes on without the row that is locked, and comes back to it."""
TRIAL_SECONDS: Final = 1.0
"""How long who asks waits for a database that has just not answered: somebody must find out that it does."""
PAUSE_SECONDS: Final = 0.05
"""Before a row that somebody else has locked is asked for again: others have the thread meanwhile."""


class StoreThreads:
    """An executor, and the connections its threads have opened."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.connections: list[Any] = []
        self.watchdog = Watchdog()
        # Threads start one by one, as work comes.
        self.executor = ThreadPoolExecutor(app_settings.STORE_THREADS, "mcp-store", self._remember)
        self.turns = Turns(self.executor)
        self.locks_rows = connections[alias].features.has_select_for_update
        self._has_reader = is_read_by_loop(connections[alias])
        self._reader: Reader | None = None
        self.hangs = False
        """Whether the last that was heard of the database is that it does not answer."""

    def reader(self) -> Reader | None:
        """What reads sessions for the running loop without a thread, if anything does."""
        if not self._has_reader or self.hangs:
            return None
        loop = asyncio.get_running_loop()
        if self._reader is None or self._reader.loop is not loop:
            if self._reader is not None:
                if self._reader.loop.is_running():
                    return None
                self._reader.close()
            from mcp_sessions.stores.database.reader import Reader  # only where psycopg is

            self._reader = Reader(self.alias, self.executor)
        return self._reader

    def _remember(self) -> None:
        """Give the thread a connection that it keeps."""
        connection = own_connection(self.alias)
        connections[self.alias] = connection
        # So that close(), in another thread, may close it.
        connection.inc_thread_sharing()
        self.connections.append(connection)
        self.watchdog.watch(connection)

    def run(self, verb: Callable[P, R], name: str | None, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """In one of the threads: run the verb, and leave nothing behind but the open connection."""
        connection = connections[self.alias]
        try:
            # A verb sees to its own time.
            with in_time(connection, None) if name is None else nullcontext():
                answer = verb(*args, **kwargs)
            self.hangs = False
            return answer
        finally:
            # No request ends here, and that is when Django forgets what it logs in debug mode.
            connection.queries_log.clear()

    def run_apart(self, work: Callable[[], None]) -> None:
        """In a thread of the caller's: with a connection of its own, until it is done."""
        connection = connections[self.alias] = own_connection(self.alias)
        self.watchdog.watch(connection)
        try:
            work()
        finally:
            self.watchdog.forget(connection)
            connection.close()

    def close(self) -> None:
        self.executor.shutdown()
        if self._reader is not None:
            self._reader.close()
        for connection in self.connections:
            self.watchdog.forget(connection)
            connection.close()


class Answer(Generic[R]):
    """What a thread will answer in time. A loop that stood still itself, and finds the answer, has it."""

    def __init__(self, future: Future[R], seconds: float) -> None:
        self.is_late = False
        self.waiting = asyncio.wrap_future(future)
        self._future = future
        self._ends_at = time.monotonic() + seconds
        self.timer = asyncio.get_running_loop().call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        rest = self._ends_at - time.monotonic()
        if rest > 0:
            self.timer = asyncio.get_running_loop().call_later(rest, self._give_up)
        elif not self._future.done():
            self.is_late = True
            self.waiting.cancel()


class Threaded:
    """The `arun` of the database store."""

    alias: str

    def __init__(self) -> None:
        self._threads: dict[int, StoreThreads] = {}

    def _own_threads(self) -> StoreThreads:
        """This process's threads: a fork leaves the child without any. Needs no lock to survive one."""
        pid = os.getpid()
        return self._threads.get(pid) or self._threads.setdefault(pid, StoreThreads(self.alias))

    def reader(self) -> Reader | None:
        """What reads sessions for the running loop without a thread, if anything does."""
        return self._own_threads().reader()

    async def arun(self, verb: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking verb in one of the store's threads, never in asgiref's only one.

        A row that somebody else has locked is waited for without a thread, for STORE_LOCK_SECONDS.
        """
        threads = self._own_threads()
        name = verb.__name__ if getattr(verb, "__self__", None) is self else None
        gives_up_at = time.monotonic() + app_settings.STORE_LOCK_SECONDS
        work = partial(threads.run, verb, name, *args, **kwargs)
        while True:
            try:
                return await self._answer(threads, name, args, work)
            except StoreBusy:
                if time.monotonic() >= gives_up_at or name in BATCHES or not threads.locks_rows:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def _answer(
        self, threads: StoreThreads, name: str | None, args: tuple[Any, ...], work: Callable[[], R]
    ) -> R:
        seconds = TRIAL_SECONDS if threads.hangs else answer_seconds(name)
        row = None if name is None else row_of(name, args)
        found = Answer(threads.turns.submit(row, work), seconds)
        try:
            return await found.waiting
        except asyncio.CancelledError:
            if not found.is_late:
                raise
            threads.hangs = True
            raise StoreUnavailable(f"The session store does not answer within {seconds:g} s.") from None
        finally:
            found.timer.cancel()

    def start_thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        apart = partial(self._own_threads().run_apart, work)
        thread = threading.Thread(target=apart, name=name, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Wait for what runs, end the threads and close their connections."""
        threads = self._threads.pop(os.getpid(), None)
        if threads is not None:
            threads.close()
