"""The store's own connections: none of them waits for ever, nor keeps others waiting.

The connections of the project are left as they are.
"""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

from django.db import DataError, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from mcp_sessions.conf import app_settings

CONNECT_SECONDS: Final = 3
"""A server that does not accept a connection for so long is away, unless OPTIONS say otherwise."""
LOCK_SECONDS: Final = 2.0
"""How long a thread waits for a row. PostgreSQL looks for deadlocks after 1 s."""
IDLE_SHARE: Final = 0.8
"""A transaction whose process stands still is ended before others give up waiting for its rows."""
SLOW: Final = 6
"""Methods on many rows, and the project's own work in the threads, may take so many times longer."""
MANY_ROWS: Final = frozenset(
    {
        *("purge", "expire", "delete_unreachable", "trim", "take_over", "statistics"),
        *("count_live", "count_over", "live_sessions", "subscribers", "overdue"),
    }
)

logger = logging.getLogger("mcp_sessions.stores")
LOOK_SECONDS: Final = 1.0
PREPARED_AFTER: Final = 5
"""A statement that ran so often on a connection is prepared there."""
LOOKED_AT: Final = 256 * 1024
"""Bytes of a statement whose length may matter; a server that takes fewer could not keep sessions."""
_ESCAPED: Final = re.compile(r"""[\\'"\0\n\r\x1a]""")


def answer_seconds(method: str | None) -> float:
    """How long the database may take for a method; for any other work if none is named."""
    timeout: float = app_settings.STORE_TIMEOUT
    return timeout * SLOW if method is None or method in MANY_ROWS else timeout


class OwnConnection:
    """Mixed into the wrapper of a database's backend."""

    vendor: str
    Database: Any
    cursor: Callable[[], Any]
    mysql_is_mariadb: bool
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
        self.limits_transactions = self.vendor == "postgresql" and self._is_pooled()
        if not self.limits_transactions:
            self.limit_waits()
        self._keep_plans()

    def _is_pooled(self) -> bool:
        """A pooler knows its clients by other numbers."""
        with self.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return bool(cursor.fetchone()[0] != self.connection.info.backend_pid)

    def _keep_plans(self) -> None:
        """PostgreSQL plans a statement that is prepared once, and each other one each time."""
        if not prepares(self):
            return
        if self.limits_transactions:
            self.connection.prepare_threshold = None
        # A plan that was made while a table was small must not read all of it when it is large.
        elif self.connection.prepare_threshold is not None:
            self._set("SET enable_seqscan = off; SET jit = off")

    def set_autocommit(self, autocommit: bool, *args: Any, **kwargs: Any) -> None:
        # At the end of a transaction that lost its connection Django would make another one for this.
        if self.connection is not None:
            super().set_autocommit(autocommit, *args, **kwargs)  # type: ignore[misc]
            if self.limits_transactions and not autocommit:
                self.limit_waits()

    def limit_waits(self) -> None:
        """For locks, and for a transaction of this process's while it stands still."""
        for statement in self._limits():
            self._set(statement)

    def _set(self, statement: str) -> None:
        try:
            with self.cursor() as cursor:
                cursor.execute(statement)
        except Error as error:
            # A database that only looks like PostgreSQL or MariaDB: it serves as it always did.
            logger.warning("the database does not take a setting of the store's connections: %s", error)

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
            if self.mysql_is_mariadb:
                yield f"SET SESSION idle_transaction_timeout = {max(math.floor(idle), 1)}"

    def break_off(self) -> None:
        """From another thread: the thread that waits for an answer on it gets an error."""
        # Whatever a driver says of one that was closed meanwhile: there is nothing to break then.
        with suppress(Exception), socket.socket(fileno=os.dup(_socket_of(self.connection))) as own:
            own.shutdown(socket.SHUT_RDWR)


def milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _socket_of(connection: Any) -> int:
    number: int = connection.fileno() if hasattr(connection, "fileno") else connection._sock.fileno()
    return number


def own_connection(alias: str) -> Any:
    """One that is kept; a connection of a pool would go back after every method."""
    database = connections.settings[alias]
    options = {name: value for name, value in database["OPTIONS"].items() if name != "pool"}
    if prepares(connections[alias]):
        # Only statements whose values are sent beside them can be prepared.
        options = {"server_side_binding": True, "prepare_threshold": PREPARED_AFTER, **options}
    return _kind(database["ENGINE"])({**database, "OPTIONS": options}, alias)


@cache
def _kind(engine: str) -> type[Any]:
    return type("DatabaseWrapper", (OwnConnection, load_backend(engine).DatabaseWrapper), {})


def prepares(connection: Any) -> bool:
    """Whether its driver prepares statements, and lets an event loop wait for answers: psycopg does."""
    driver: Any = getattr(connection, "Database", None)
    return bool(connection.vendor == "postgresql" and driver.__name__ == "psycopg")


@contextmanager
def in_time(connection: BaseDatabaseWrapper, method: str | None) -> Iterator[None]:
    """Whatever the block runs on an own connection ends in time, by an error if need be."""
    if not isinstance(connection, OwnConnection):
        yield
        return
    before, connection.late_at = connection.late_at, time.monotonic() + answer_seconds(method)
    try:
        yield
    finally:
        connection.late_at = before


def is_late(connection: BaseDatabaseWrapper) -> bool:
    return isinstance(connection, OwnConnection) and time.monotonic() >= connection.late_at


class Watchdog:
    """A thread that breaks off connections whose answer is late. No timeout of the drivers does that."""

    def __init__(self) -> None:
        self._watched: set[OwnConnection] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, connection: OwnConnection) -> None:
        with self._lock:
            self._watched.add(connection)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look_on, name="mcp-watchdog", daemon=True)
                self._thread.start()

    def forget(self, connection: OwnConnection) -> None:
        """Nothing runs on it any more; with the last one the thread ends."""
        with self._lock:
            self._watched.discard(connection)

    def _look_on(self) -> None:
        while self._is_needed():
            time.sleep(LOOK_SECONDS)
            self.look()

    def _is_needed(self) -> bool:
        with self._lock:
            if not self._watched:
                self._thread = None
            return self._thread is not None

    def look(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = [each for each in self._watched if each.late_at <= now]
        for connection in late:
            connection.break_off()


def in_one_packet(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Django's way around every statement: refuse what the server would not survive the reading of."""
    longest = max(map(length, params if many else [params or ()]), default=0) + len(sql)
    if longest > LOOKED_AT:
        with context["connection"].cursor() as cursor:
            cursor.execute("SELECT @@max_allowed_packet")
            (limit,) = cursor.fetchone()
        if longest >= limit:
            raise DataError(f"It needs {longest} bytes, and max_allowed_packet is {limit}")
    return execute(sql, params, many, context)


def length(values: Iterable[Any]) -> int:
    """Bytes that the values take in a statement."""
    return sum(map(_length, values))


def _length(value: Any) -> int:
    if not isinstance(value, str):
        return len(str(value))
    if len(value) * 4 < LOOKED_AT:
        return len(value)
    return len(value.encode(errors="replace")) + len(_ESCAPED.findall(value))
