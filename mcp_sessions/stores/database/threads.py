"""Threads of the store's own, which keep their database connections."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
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
    own_connection,
    prepares,
)

if TYPE_CHECKING:
    from mcp_sessions.stores.database.reader import Reader

P = ParamSpec("P")
R = TypeVar("R")

LOCKS_SESSION: Final = frozenset(
    {
        *("lease", "renew", "release", "save_metadata", "subscribe", "unsubscribe", "warn", "end"),
        *("open_stream", "attach", "add_request", "drop_request", "rotate"),
    }
)
"""Methods that lock the row of the session that they name first."""
CLAIMS_CALL: Final = frozenset({"claim", "settle", "unclaim"})
"""Methods that lock the row of the session that a Claim names."""
BATCHES: Final = frozenset({"append", "touch", "mark_delivered"})
"""A caller that stores much at once goes on without the locked row, and comes back to it."""
TRIAL_SECONDS: Final = 1.0
"""How long a call waits for a database that has just not answered: one must find out when it does."""
PAUSE_SECONDS: Final = 0.05
"""Before a row that somebody else has locked is asked for again: others have the thread meanwhile."""


def row_of(method: str, args: tuple[Any, ...]) -> str | None:
    """What a method locks, if it is one row. A batch for one stream or session locks that."""
    if method in LOCKS_SESSION and args:
        return str(args[0])
    if method in CLAIMS_CALL and args:
        return str(args[0].session)
    if method == "append" and args:
        rows = {getattr(item, "stream", None) or item.session for item in args[0]}
        return rows.pop() if len(rows) == 1 else None
    return None


class Task(Future[R]):
    """The future of some work for a thread."""

    def __init__(self, work: Callable[[], R]) -> None:
        super().__init__()
        self.work = work
        self.handed_at: float | None = None
        """When the threads got it; None while it waits for its row."""

    def run(self) -> None:
        if not self.set_running_or_notify_cancel():
            return
        try:
            self.set_result(self.work())
        except BaseException as error:
            self.set_exception(error)


class RowQueues:
    """Hands work to an executor: of what locks one row, one task at a time.

    The others would wait for the row anyway. Here they wait without a thread.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Task[Any]]] = {}
        """The rows that something is done with, and what is to be done next."""

    def submit(self, row: str | None, work: Callable[[], R]) -> Task[R]:
        task = Task(work)
        if row is None:
            self._hand_over(task, task.run)
        elif self._is_first(row, task):
            self._hand_over(task, self._run, row, task)
        return task

    def _is_first(self, row: str, task: Task[Any]) -> bool:
        """Whether nothing is done with the row; else the task has its turn later."""
        with self._lock:
            if row in self._waiting:
                self._waiting[row].append(task)
                return False
            self._waiting[row] = deque()
            return True

    def _hand_over(self, task: Task[Any], work: Callable[..., None], *args: Any) -> None:
        task.handed_at = time.monotonic()
        self._executor.submit(work, *args)

    def _run(self, row: str, task: Task[Any]) -> None:
        try:
            task.run()
        finally:
            self._run_next(row)

    def _run_next(self, row: str) -> None:
        """Behind what others have brought meanwhile."""
        while (task := self._next(row)) is not None:
            try:
                self._hand_over(task, self._run, row, task)
                return
            except RuntimeError as error:  # It shuts down, and takes nothing more.
                if task.set_running_or_notify_cancel():
                    task.set_exception(error)

    def _next(self, row: str) -> Task[Any] | None:
        with self._lock:
            if waiting := self._waiting[row]:
                return waiting.popleft()
            del self._waiting[row]
            return None


class StoreThreads:
    """An executor, and the connections its threads have opened."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.connections: list[Any] = []
        self.watchdog = Watchdog()
        # Threads start one by one, as work comes.
        self.executor = ThreadPoolExecutor(app_settings.STORE_THREADS, "mcp-store", self._open_connection)
        self.queues = RowQueues(self.executor)
        self.locks_rows = connections[alias].features.has_select_for_update
        self._has_reader = prepares(connections[alias])
        self._reader: Reader | None = None
        self.hangs = False
        """Whether the database did not answer the last time."""

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

    def _open_connection(self) -> None:
        """Give the thread a connection that it keeps."""
        connection = own_connection(self.alias)
        connections[self.alias] = connection
        # So that close(), in another thread, may close it.
        connection.inc_thread_sharing()
        self.connections.append(connection)
        self.watchdog.watch(connection)

    def run(self, method: Callable[P, R], name: str | None, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """In one of the threads: run the method, and leave nothing behind but the open connection."""
        connection = connections[self.alias]
        try:
            # A method of the store has its own limit.
            with in_time(connection, None) if name is None else nullcontext():
                answer = method(*args, **kwargs)
            self.hangs = False
            return answer
        finally:
            # No request ends here, and that is when Django forgets what it logs in debug mode.
            connection.queries_log.clear()

    def run_in_own_thread(self, work: Callable[[], None]) -> None:
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
    """What a thread will answer in time. A loop that stood still itself, and finds the answer, has it.

    The time of `seconds` begins when the threads get the task. It waits for its row until an instant of the
    monotonic clock at most.
    """

    def __init__(self, task: Task[R], seconds: float, row_until: float = math.inf) -> None:
        self.is_late = False
        self.waiting = asyncio.wrap_future(task)
        self._task = task
        self._seconds = seconds
        self._row_until = row_until
        self.timer = asyncio.get_running_loop().call_later(min(seconds, self._rest()), self._give_up)

    @property
    def waited_for_row(self) -> bool:
        """Whether the work was not begun, and will not be."""
        return self._task.handed_at is None and self._task.cancelled()

    def _rest(self) -> float:
        began_at = self._task.handed_at
        return (self._row_until if began_at is None else began_at + self._seconds) - time.monotonic()

    def _give_up(self) -> None:
        rest = self._rest()
        if rest > 0:
            seconds = min(rest, self._seconds)
            self.timer = asyncio.get_running_loop().call_later(seconds, self._give_up)
        elif not self._task.done():
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

    async def arun(self, method: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking method in one of the store's threads, never in asgiref's only one.

        A row that somebody else has locked is waited for without a thread, for STORE_LOCK_SECONDS.
        """
        threads = self._own_threads()
        name = method.__name__ if getattr(method, "__self__", None) is self else None
        gives_up_at = time.monotonic() + app_settings.STORE_LOCK_SECONDS
        work = partial(threads.run, method, name, *args, **kwargs)
        while True:
            try:
                return await self._answer(threads, name, args, work, gives_up_at)
            except StoreBusy:
                if time.monotonic() >= gives_up_at or name in BATCHES or not threads.locks_rows:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def _answer(
        self,
        threads: StoreThreads,
        name: str | None,
        args: tuple[Any, ...],
        work: Callable[[], R],
        gives_up_at: float,
    ) -> R:
        seconds = TRIAL_SECONDS if threads.hangs else answer_seconds(name)
        row = None if name is None else row_of(name, args)
        # SQLite locks no rows: what waits there waits for the database.
        row_until = gives_up_at if threads.locks_rows else time.monotonic() + seconds
        found = Answer(threads.queues.submit(row, work), seconds, row_until)
        try:
            return await found.waiting
        except asyncio.CancelledError:
            if not found.is_late:
                raise
            if found.waited_for_row and threads.locks_rows:
                raise StoreBusy("The session store is busy: a row of the session stays locked.") from None
            threads.hangs = True
            raise StoreUnavailable(f"The session store does not answer within {seconds:g} s.") from None
        finally:
            found.timer.cancel()

    def start_thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        run = partial(self._own_threads().run_in_own_thread, work)
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Wait for what runs, end the threads and close their connections."""
        threads = self._threads.pop(os.getpid(), None)
        if threads is not None:
            threads.close()
