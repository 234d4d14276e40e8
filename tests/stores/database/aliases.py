"""Databases by their aliases, and connections besides the test's own."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.stores.database import DatabaseSessionStore


def on(alias: str) -> pytest.MarkDecorator:
    """Let the tests use this database, if it is there: the fixture `store` skips them if not."""
    return pytest.mark.django_db(transaction=True, databases=[alias] if alias in settings.DATABASES else [])


def until(condition: Callable[[], bool], seconds: float = 60, every: float = 0.005) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every)


def in_thread(alias: str, work: Callable[[], Any]) -> Any:
    """Run this on another connection of the database."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections[alias].close()

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(run).result(timeout=120)


@contextmanager
def another_alias(alias: str, name: str, **changes: Any) -> Iterator[DatabaseSessionStore]:
    """A store in the same database by another alias, with other settings."""
    guarded = BaseDatabaseWrapper.ensure_connection

    def ensure_connection(connection: BaseDatabaseWrapper) -> None:
        """Past Django's guard, which knows the aliases that were there when the test began."""
        if connection.alias != name:
            guarded(connection)
        elif connection.connection is None:
            with connection.wrap_database_errors:
                connection.connect()

    connections.databases[name] = {**copy.deepcopy(connections.databases[alias]), **changes}
    store = DatabaseSessionStore(name)
    try:
        with mock.patch.object(BaseDatabaseWrapper, "ensure_connection", ensure_connection):
            yield store
    finally:
        store.close()
        connections[name].close()
        del connections[name]
        del connections.databases[name]
