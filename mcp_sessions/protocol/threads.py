"""Threads for tools that use the ORM.

A server library runs synchronous tools in threads that Django never hears of: nothing closes
their connections, and after a restart of the database each thread stays broken. So every
synchronous function of a server is wrapped in what Django does around a request. Asynchronous
tools use the ORM through asgiref, which would share one thread among all calls: each call
borrows a thread of its own instead, when it first needs one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.db import close_old_connections

from mcp_sessions.conf import app_settings
from mcp_sessions.isolation import as_exception
from mcp_sessions.runtime import Phase, Runtime, current


@contextmanager
def fresh_connections() -> Iterator[None]:
    """Close the thread's old database connections before and after a call."""
    close_old_connections()
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        # Raised into a coroutine, GeneratorExit would close it.
        raise as_exception(error) from error
    finally:
        close_old_connections()


class own_thread(ThreadSensitiveContext):
    """Give the calling task a thread of its own for thread-sensitive work, if it has any."""

    def __init__(self) -> None:
        self._borrowed = Borrowed(current().service(ThreadPool))
        super().__init__(executor=self._borrowed)

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await super().__aexit__(*raised)  # type: ignore[no-untyped-call]
        finally:
            self._borrowed.give_back()


class ThreadPool:
    """At most TOOL_THREADS single threads; calls beyond that share them.

    A thread is idle when all who took it have given it back.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._idle: list[ThreadPoolExecutor] = []
        self._all: list[ThreadPoolExecutor] = []
        self._users: Counter[ThreadPoolExecutor] = Counter()
        self._lock = threading.Lock()
        self._next = 0
        runtime.at_shutdown(Phase.RELEASE, self._close)

    def take(self) -> ThreadPoolExecutor:
        with self._lock:
            executor = self._idle.pop() if self._idle else self._next_in_use()
            self._users[executor] += 1
            return executor

    def give(self, executor: ThreadPoolExecutor) -> None:
        with self._lock:
            self._users[executor] -= 1
            if not self._users[executor]:
                self._idle.append(executor)

    def _next_in_use(self) -> ThreadPoolExecutor:
        if len(self._all) < app_settings.TOOL_THREADS:
            self._all.append(ThreadPoolExecutor(1, thread_name_prefix="mcp-tool"))
            return self._all[-1]
        self._next += 1
        return self._all[self._next % len(self._all)]

    async def _close(self) -> None:
        for executor in self._all:
            executor.shutdown(wait=False, cancel_futures=True)


class Borrowed(Executor):
    """One thread of the pool, taken at the first submission."""

    def __init__(self, pool: ThreadPool) -> None:
        self._pool = pool
        self._executor: ThreadPoolExecutor | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._executor is None:
            self._executor = self._pool.take()
            self._executor.submit(close_old_connections)
        return self._executor.submit(fn, *args, **kwargs)

    def give_back(self) -> None:
        """Once the thread is done with what was submitted: a task that the call has left may be in it."""
        if (executor := self._executor) is not None:
            last = executor.submit(close_old_connections)
            last.add_done_callback(lambda _: self._pool.give(executor))
