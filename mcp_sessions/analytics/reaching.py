"""Work on the database in a thread of its own: what it says when the database is away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from django.db import Error, ProgrammingError, connections

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.stores.failures import UNSERVED, Failure, meaning_of, not_migrated

R = TypeVar("R")


def reached(alias: str, work: Callable[..., R], *args: Any) -> R:
    """Say as the stores do that the database cannot be reached, or lacks what migrations make.

    The next call has a new connection.
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
