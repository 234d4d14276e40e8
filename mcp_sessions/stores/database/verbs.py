"""How a verb meets the database: broken connections, transactions, and what is told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from django.db import Error, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.models import Stream

UNREACHABLE = (OperationalError, InterfaceError)


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
        if may_be_stale(connection):
            try:
                return method(store, *args, **kwargs)
            except UNREACHABLE:
                discard(connection)
        try:
            return method(store, *args, **kwargs)
        except UNREACHABLE as error:
            if not connection.in_atomic_block:
                discard(connection)
            raise StoreUnavailable(f"The session store cannot be reached: {error}") from error

    return run


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    return bool(connection.settings_dict["OPTIONS"].get("pool"))


def may_be_stale(connection: BaseDatabaseWrapper) -> bool:
    """Whether a failure may be this connection's, and trying again is ours to decide.

    Inside a caller's transaction it is not: what was done before would be lost. SQLite has no
    server to lose; there a failure means that somebody else wrote for too long.
    """
    if connection.in_atomic_block or connection.vendor == "sqlite":
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


def table(model: type[Any]) -> str:
    """The model's table, to be put into SQL: the name is ours and needs no quoting."""
    return str(model._meta.db_table)
