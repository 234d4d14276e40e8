"""Database work of authenticators: off the event loop, over connections that stay open.

It runs before every request, so it does without asgiref's one thread, and without Django's habit of
opening a connection for each request (CONN_MAX_AGE is 0 by default).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connections

from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import AuthenticationUnavailable

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("mcp_sessions.security")

THREADS: Final = 4
"""Threads, and so connections to each database that is asked, of one process."""

_pools: dict[int, DatabaseThreads] = {}
"""By process: a fork leaves the child without threads."""


class DatabaseThreads:
    """Threads that keep the connections they have opened."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(THREADS, "mcp-auth", self._keep_connections)
        self._connections: list[Any] = []

    def _keep_connections(self) -> None:
        for connection in connections.all():
            # So that close(), in another thread, may close it.
            connection.inc_thread_sharing()
            self._connections.append(connection)

    def close(self) -> None:
        self.executor.shutdown()
        for connection in self._connections:
            connection.close()


async def in_database(work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run work that reads the database in a thread.

    It may run twice: a connection may have broken while it was not used. Raises AuthenticationUnavailable
    while the database cannot be reached, or does not answer within STORE_TIMEOUT.
    """
    pool = _pools.get(os.getpid()) or _pools.setdefault(os.getpid(), DatabaseThreads())
    call = partial(_run, partial(work, *args, **kwargs))
    try:
        async with asyncio.timeout(app_settings.STORE_TIMEOUT):
            return await asyncio.get_running_loop().run_in_executor(pool.executor, call)
    except (InterfaceError, OperationalError, TimeoutError) as error:
        logger.error("answering 503: the database cannot verify a credential: %r", error)
        raise AuthenticationUnavailable from error


def close_database_threads() -> None:
    """End the threads and close their connections, as before a test database is dropped."""
    if (pool := _pools.pop(os.getpid(), None)) is not None:
        pool.close()


def _run(work: Callable[[], R]) -> R:
    try:
        return work()
    except (InterfaceError, OperationalError):
        for connection in connections.all(initialized_only=True):
            connection.close()
        return work()
    finally:
        for connection in connections.all(initialized_only=True):
            connection.queries_log.clear()
            if connection.settings_dict["OPTIONS"].get("pool"):
                connection.close()  # back to psycopg's pool, which others may need it from
