"""However many rows a verb concerns, none of its statements has more parameters than any database takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import pytest
from django.db import connections
from django.utils import timezone

from mcp_sessions.models import Notification, StreamEvent
from mcp_sessions.records import Append, EndReason, Limits
from mcp_sessions.stores.database import DatabaseSessionStore, deletion, statements
from mcp_sessions.testing.store_contract.builders import (
    HOUR,
    NOW,
    make_session,
    messages,
    post,
    put,
    put_read,
    put_stream,
)
from mcp_sessions.testing.store_contract.observing import texts_of

CHUNK: Final = 3
MOST: Final = 8 * CHUNK
"""Parameters: a few for each of the rows that are named at once."""


def is_move(sql: str) -> bool:
    return sql.startswith("UPDATE") and StreamEvent._meta.db_table in sql


@contextmanager
def few_parameters(alias: str) -> Iterator[None]:
    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        # Django has rows inserted and updated in batches of their own.
        if not many and not sql.startswith("INSERT") and not is_move(sql):
            assert len(params or ()) <= MOST, sql
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(count):
        yield


class ManyContract:
    @pytest.fixture
    def small_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(statements, "CHUNK", CHUNK)
        monkeypatch.setattr(deletion, "MAX_ROWS", CHUNK)

    @pytest.mark.usefixtures("small_chunks")
    def test_no_statement_names_too_much_at_once(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        names = [put_stream(store, session) for _ in range(30)]
        store.append([Append(name, messages(name)) for name in names])
        with few_parameters(alias):
            to = put_read(store, session)
            assert sorted(texts_of(store, to)) == sorted(names)
            store.mark_delivered("reader", dict.fromkeys([to, *names], 1), leaving=True)
            for _ in range(30):
                put(store, principal="7")
            limits = Limits(per_principal=5, replaces=True)
            assert len(store.create(make_session(principal="7"), limits)) == 26
            store.delete_unreachable(timezone.now() + HOUR, 1000)
            store.end(session.key, NOW, EndReason.DELETED)
            assert store.purge(timezone.now() + HOUR, 1000) == 27

    @pytest.mark.usefixtures("small_chunks")
    def test_old_bells_are_deleted_however_many_there_are(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)
        for _ in range(10):
            post(store, session.key, "1")
        Notification.objects.using(alias).update(created_at=timezone.now() - timedelta(hours=1))
        post(store, session.key, "1")
        store.delete_unreachable(NOW, 10)
        assert Notification.objects.using(alias).count() == 1
