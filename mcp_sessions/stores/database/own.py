"""The store's own connections: none of them waits for ever, nor has anybody wait for it.

The connections of the project are left as they are.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from mcp_sessions.conf import app_settings

CONNECT_SECONDS: Final = 3
"""A server that does not accept a connection for so long is away, unless OPTIONS say otherwise."""
LOCK_SECONDS: Final = 2.0
"""So long at most a thread waits for a row; then others have it. PostgreSQL looks for deadlocks after 1 s."""
IDLE_SHARE: Final = 0.8
"""A transaction whose process stands still is ended before those who wait for its rows give up."""
SLOW: Final = 6
"""What looks after many rows, and what the project has the threads do, may take so many times longer."""
MANY_ROWS: Final = frozenset(
    {
        *(
            "purge",
            "expire",
            "delete_unreachable",
            "trim",
            "take_over",
            "statistics",
            "count_live",
            "count_over",
        ),
        *("live_sessions", "subscribers", "overdue"),
    }
)

logger = logging.getLogger("mcp_sessions.stores")


def answer_seconds(verb: str | None) -> float:
    """How long the database may take for a verb; for any other work if none is named."""
    timeout: float = app_settings.STORE_TIMEOUT
    return timeout * SLOW if verb is None or verb in MANY_ROWS else timeout


class OwnConnection:
    """Mixed into the wrapper of a database's backend."""

    vendor: str
    Database: Any
    connection: Any
    late_at = math.inf
    """When what runs on it has taken too long; nothing does if it is infinite."""
    limits_transactions = False
    """Whether limits are set in each transaction: behind a pooler the next one may be somebody else's."""

    def get_connection_params(self) -> dict[str, Any]:
        given: dict[str, Any] = super().get_connection_params()  # type: ignore[misc]
        waits = {"connect_timeout": CONNECT_SECONDS} if self.vendor in {"postgresql", "mysql"} else {}
        return {**waits, **given}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if self.vendor != "mysql" or self.Database.__name__ != "pymysql" or "read_timeout" in conn_params:
            return super().get_new_connection(conn_params)  # type: ignore[misc]
        # Of connecting PyMySQL bounds only the beginning. What is connected the watchdog has.
        made = super().get_new_connection({**conn_params, "read_timeout": CONNECT_SECONDS})  # type: ignore[misc]
        made._read_timeout = None
        return made

    def init_connection_state(self) -> None:
        super().init_connection_state()  # type: ignore[misc]
        if self.vendor == "postgresql":
            with self.cursor() as cursor:  # type: ignore[attr-defined]
                cursor.execute("SELECT pg_backend_pid()")
                # A pooler knows its clients by other numbers.
                self.limits_transactions = cursor.fetchone()[0] != self.connection.info.backend_pid
        if not self.limits_transactions:
            self.limit_waits()

    def set_autocommit(self, autocommit: bool, *args: Any, **kwargs: Any) -> None:
        # At the end of a transaction that lost its connection Django would make another one for this.
        if self.connection is not None:
            super().set_autocommit(autocommit, *args, **kwargs)  # type: ignore[misc]

    def limit_waits(self) -> None:
        """For locks, and for a transaction of this process's while it stands still."""
        try:
            for statement in self._limits():
                with self.cursor() as cursor:  # type: ignore[attr-defined]
                    cursor.execute(statement)
        except Error as error:
            # A database that only looks like these: without limits it serves as it always did.
            logger.warning("the database does not limit how long the store waits for locks: %s", error)

    def _limits(self) -> Iterator[str]:
        lock, idle = LOCK_SECONDS, app_settings.STORE_LOCK_SECONDS * IDLE_SHARE
        if self.vendor == "postgresql":
            how = "SET LOCAL" if self.limits_transactions else "SET"
            yield (
                f"{how} lock_timeout = {milliseconds(lock)};"
                f" {how} idle_in_transaction_session_timeout = {milliseconds(idle)}"
            )
        elif self.vendor == "mysql":
            yield f"SET SESSION innodb_lock_wait_timeout = {math.ceil(lock)}"
            yield f"SET SESSION lock_wait_timeout = {math.ceil(lock)}"
            if self.mysql_is_mariadb:  # type: ignore[attr-defined]
                yield f"SET SESSION idle_transaction_timeout = {max(math.floor(idle), 1)}"

    def break_off(self) -> None:
        """From another thread: who waits for an answer on it gets an error."""
        # Whatever a driver says of one that was closed meanwhile: there is nothing to break then.
        with suppress(Exception), socket.socket(fileno=os.dup(_socket_of(self.connection))) as own:
            own.shutdown(socket.SHUT_RDWR)


def milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _socket_of(connection: Any) -> int:
    number: int = connection.fileno() if hasattr(connection, "fileno") else connection._sock.fileno()
    return number


def own_connection(alias: str) -> Any:
    """One that is kept; a connection of a pool would go back after every verb."""
    database = connections.settings[alias]
    options = {name: value for name, value in database["OPTIONS"].items() if name != "pool"}
    return _kind(database["ENGINE"])({**database, "OPTIONS": options}, alias)


@cache
def _kind(engine: str) -> type[Any]:
    return type("DatabaseWrapper", (OwnConnection, load_backend(engine).DatabaseWrapper), {})


def is_read_by_loop(connection: BaseDatabaseWrapper) -> bool:
    """Whether its driver lets an event loop wait for answers: psycopg does."""
    driver: Any = getattr(connection, "Database", None)
    return connection.vendor == "postgresql" and driver.__name__ == "psycopg"


@contextmanager
def in_time(connection: BaseDatabaseWrapper, verb: str | None) -> Iterator[None]:
    """Whatever the block asks an own connection, it is told in time, by an error if need be."""
    if not isinstance(connection, OwnConnection):
        yield
        return
    before, connection.late_at = connection.late_at, time.monotonic() + answer_seconds(verb)
    try:
        yield
    finally:
        connection.late_at = before


def is_late(connection: BaseDatabaseWrapper) -> bool:
    return isinstance(connection, OwnConnection) and time.monotonic() >= connection.late_at
