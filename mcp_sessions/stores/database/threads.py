"""Threads of the store's own, which keep their database connections."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from mcp_sessions.conf import app_settings

P = ParamSpec("P")
R = TypeVar("R")


class StoreThreads:
    """An executor, and the connections its threads have opened."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.connections: list[BaseDatabaseWrapper] = []
        # Threads start one by one, as work comes.
        self.executor = ThreadPoolExecutor(app_settings.STORE_THREADS, "mcp-store", self._remember)

    def _remember(self) -> None:
        """Give the thread a connection that it keeps; one of a pool would go back after every verb."""
        connection = _unpooled(self.alias)
        connections[self.alias] = connection
        # So that close(), in another thread, may close it.
        connection.inc_thread_sharing()
        self.connections.append(connection)

    def run(self, verb: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """In one of the threads: run the verb, and leave nothing behind but the open connection."""
        connection = connections[self.alias]
        try:
            return verb(*args, **kwargs)
        finally:
            # No request ends here, and that is when Django forgets what it logs in debug mode.
            connection.queries_log.clear()

    def close(self) -> None:
        self.executor.shutdown()
        for connection in self.connections:
            connection.close()


def _unpooled(alias: str) -> BaseDatabaseWrapper:
    database = connections.settings[alias]
    options = {name: value for name, value in database["OPTIONS"].items() if name != "pool"}
    wrapper: BaseDatabaseWrapper = load_backend(database["ENGINE"]).DatabaseWrapper(
        {**database, "OPTIONS": options}, alias
    )
    return wrapper


def _run_apart(alias: str, work: Callable[[], None]) -> None:
    connection = connections[alias] = _unpooled(alias)
    try:
        work()
    finally:
        connection.close()


class Threaded:
    """The `arun` of the database store."""

    alias: str

    def __init__(self) -> None:
        self._threads: dict[int, StoreThreads] = {}

    def _own_threads(self) -> StoreThreads:
        """This process's threads: a fork leaves the child without any. Needs no lock to survive one."""
        pid = os.getpid()
        return self._threads.get(pid) or self._threads.setdefault(pid, StoreThreads(self.alias))

    async def arun(self, verb: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking verb in one of the store's threads, never in asgiref's only one."""
        threads = self._own_threads()
        work = partial(threads.run, verb, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(threads.executor, work)

    def start_thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=partial(_run_apart, self.alias, work), name=name, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Wait for what runs, end the threads and close their connections."""
        threads = self._threads.pop(os.getpid(), None)
        if threads is not None:
            threads.close()
