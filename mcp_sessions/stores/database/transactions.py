"""How a store's method meets the database: retries, transactions, and which error it raises."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial, wraps
from itertools import count
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.exceptions import InvalidSessionData, MCPSessionsError, StoreBusy, StoreUnavailable
from mcp_sessions.models import Stream
from mcp_sessions.stores.database.connections import OwnConnection, in_one_packet, in_time, is_late
from mcp_sessions.stores.database.statements import table
from mcp_sessions.stores.failures import UNSERVED, Failure, meaning_of, not_migrated

MAX_ATTEMPTS: Final = 10
"""A broken connection takes two; deadlocks, or a pool that had many broken ones, perhaps more."""
PAUSE_SECONDS: Final = 0.01
"""After a deadlock, times the number of attempts: transactions that met would meet again at once."""


class HasAlias(Protocol):
    alias: str


P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=HasAlias)


def retried(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Run the method again on a fresh connection if the one it had was broken.

    A connection that outlived its database fails at its next use, and so does one to a database
    that only reads since then. A new one that fails, or an old one during the commit (see
    `writing`), says StoreUnavailable. What the database will never take is InvalidSessionData.
    """

    @wraps(method)
    def run(store: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        connection = connections[store.alias]
        with in_time(connection, method.__name__):
            return with_retry(connection, partial(method, store, *args, **kwargs))

    return run


def with_retry(connection: BaseDatabaseWrapper, work: Callable[[], R]) -> R:
    for attempts in count(1):
        is_stale = may_be_stale(connection)
        try:
            return work()
        except Error as error:
            if (failure := meaning_of(error)) is None:
                raise
            if not may_retry(connection, failure, is_stale) or attempts == MAX_ATTEMPTS:
                raise store_error(failure, error) from error
            if failure is Failure.CONFLICT:
                time.sleep(random.uniform(0, attempts * PAUSE_SECONDS))
    raise AssertionError  # count() has no end


def may_retry(connection: BaseDatabaseWrapper, failure: Failure, is_stale: bool) -> bool:
    """Not inside the caller's transaction: what was done in it before is lost."""
    if connection.in_atomic_block:
        return False
    if failure is Failure.UNAVAILABLE:
        discard(connection)
        return is_stale and not is_late(connection)
    return failure is Failure.CONFLICT


def store_error(failure: Failure, error: Error) -> MCPSessionsError:
    if failure is Failure.UNMIGRATED:
        return not_migrated(error)
    if failure is Failure.REFUSED:
        return InvalidSessionData(f"The database does not take this: {error}")
    if failure is Failure.BUSY:
        return StoreBusy(f"The session store is busy: {error}")
    return StoreUnavailable(f"The session store cannot be reached: {error}")


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
    """A transaction that begins with a write.

    Whether a commit that failed took place is unknown. So its error is StoreUnavailable, which `retried`
    lets pass: the method is not run again.
    """
    connection = connections[alias]
    is_done = False
    try:
        with transaction.atomic(using=alias), short_statements(connection):
            begin_with_write(connection)
            yield connection
            is_done = True
    except UNSERVED as error:
        if is_done:
            raise StoreUnavailable(f"It is unknown whether the transaction took place: {error}") from error
        raise


def short_statements(connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
    return connection.execute_wrapper(in_one_packet) if connection.vendor == "mysql" else nullcontext()


def commits_alone(connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement of PostgreSQL may be a transaction by itself, with the limits of others."""
    is_limited = not limits_transactions(connection)
    return connection.vendor == "postgresql" and is_limited and not connection.in_atomic_block


def limits_transactions(connection: BaseDatabaseWrapper) -> bool:
    """Whether only transactions limit how long they wait for rows: behind a pooler."""
    return isinstance(connection, OwnConnection) and connection.limits_transactions


def begin_with_write(connection: BaseDatabaseWrapper) -> None:
    """Take SQLite's write lock before anything is read.

    A deferred transaction that has read cannot begin to write once somebody else has: it fails
    at once, whatever its timeout. Elsewhere rows are locked, one by one.
    """
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table(Stream)} SET position = position WHERE 1 = 0")


@contextmanager
def bounded_wait(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """For a statement that needs no transaction: it waits for a row no longer than one within `writing`."""
    connection = connections[alias]
    with writing(alias) if limits_transactions(connection) else nullcontext():
        yield connection
