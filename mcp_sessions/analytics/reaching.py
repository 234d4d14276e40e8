"""Work on the database in a thread of its own: what it says when the database is away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from django.db import Error, connections

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.stores.failures import UNSERVED

R = TypeVar("R")


def reached(alias: str, work: Callable[..., R], *args: Any) -> R:
    """Say as the stores do that the database cannot be reached. The next call has a new connection."""
    connection = connections[alias]
    try:
        return work(*args)
    except UNSERVED as error:
        if not connection.in_atomic_block:
            with suppress(Error):
                connection.close()
        raise StoreUnavailable(f"The rows of sessions cannot be read: {error}") from error
