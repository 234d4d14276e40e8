"""Errors of the database as errors of the session stores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from django.db import Error, ProgrammingError, connections

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.stores.failures import UNSERVED, Failure, meaning_of, not_migrated

R = TypeVar("R")


def with_store_errors(alias: str, work: Callable[..., R], *args: Any) -> R:
    """Do the work. Raises StoreUnavailable, and StoreNotMigrated if the database lacks a table or a column.

    After an error the next call has a new connection.
    """
    connection = connections[alias]
    try:
        return work(*args)
    except (*UNSERVED, ProgrammingError) as error:
        failure = meaning_of(error)
        if failure is None:
            raise
        if not connection.in_atomic_block:
            with suppress(Error):
                connection.close()
        if failure is Failure.UNMIGRATED:
            raise not_migrated(error) from error
        raise StoreUnavailable(f"The rows of sessions cannot be read: {error}") from error
