"""How a verb meets the database: broken connections, transactions, and what is told apart."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from django.db import Error, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.models import Stream
from mcp_sessions.stores.database.statements import table

UNREACHABLE: Final = (OperationalError, InterfaceError)
MAX_GOES: Final = 10
"""A broken connection takes two; deadlocks, or a pool that had many broken ones, perhaps more."""
PAUSE_SECONDS: Final = 0.01
"""After a deadlock, for each that there was: those who met would meet again if they went on at once."""
DEADLOCKS: Final = frozenset({"40P01", "40001", 1213, 1020})
"""PostgreSQL's and MariaDB's codes; they look alike for rows that changed under a strict isolation level."""


class HasAlias(Protocol):
    alias: str


P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=HasAlias)


def verb(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Give the method a second go on a fresh connection if the one it had was broken.

    A connection that outlived its database fails at its next use. A new one that fails, or an
    old one during the commit (see `writing`), says StoreUnavailable.
    """

    @wraps(method)
    def run(store: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        connection = connections[store.alias]
        goes = 0
        while True:
            is_stale = may_be_stale(connection)
            try:
                return method(store, *args, **kwargs)
            except UNREACHABLE as error:
                goes += 1
                if not may_go_again(connection, error, is_stale) or goes == MAX_GOES:
                    raise StoreUnavailable(f"The session store cannot be reached: {error}") from error
                if is_deadlock(error):
                    time.sleep(random.uniform(0, goes * PAUSE_SECONDS))

    return run


def may_go_again(connection: BaseDatabaseWrapper, error: Exception, is_stale: bool) -> bool:
    """Inside the caller's transaction nobody may: what was done in it before is lost."""
    if connection.in_atomic_block:
        return False
    if is_deadlock(error):
        return True
    discard(connection)
    return is_stale


def is_deadlock(error: Exception) -> bool:
    """Whether the database rolled this transaction back so that another could go on."""
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or next(iter(getattr(cause, "args", ())), None)
    return code in DEADLOCKS


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    return bool(connection.settings_dict["OPTIONS"].get("pool"))


def may_be_stale(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database may have gone away since this connection was opened.

    SQLite's cannot: there a failure means that somebody else wrote for too long.
    """
    if connection.vendor == "sqlite":
        return False
    return connection.connection is not None or is_pooled(connection)


def discard(connection: BaseDatabaseWrapper) -> None:
    # A driver may refuse to close what it has lost; Django forgets it all the same.
    with suppress(Error):
        connection.close()
    if is_pooled(connection):
        # The others in the pool are as old as the one that failed.
        pool: Any = getattr(connection, "pool", None)
        if pool is not None:
            pool.check()


@contextmanager
def writing(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """A transaction that begins with a write, and in which a failed commit is no failed verb.

    Whether a commit that failed took place is unknown, so it is told apart from every failure
    before it: StoreUnavailable passes through `verb` without another try.
    """
    connection = connections[alias]
    is_done = False
    try:
        with transaction.atomic(using=alias):
            begin_with_write(connection)
            yield connection
            is_done = True
    except UNREACHABLE as error:
        if is_done:
            raise StoreUnavailable(f"It is unknown whether the transaction took place: {error}") from error
        raise


def begin_with_write(connection: BaseDatabaseWrapper) -> None:
    """Take SQLite's write lock before anything is read.

    A deferred transaction that has read cannot begin to write once somebody else has: it fails
    at once, whatever its timeout. Elsewhere rows are locked, one by one.
    """
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table(Stream)} SET position = position WHERE 1 = 0")
