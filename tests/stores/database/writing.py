"""What is written, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier, InvalidSessionData
from mcp_sessions.models import Notification, Session, Stream, StreamEvent, Subscription, Worker
from mcp_sessions.records import Append, EndReason, Send
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import (
    HOUR,
    NOW,
    make_session,
    messages,
    post,
    put,
    put_stream,
)
from mcp_sessions.testing.store_contract.data import REFUSED_DATA
from mcp_sessions.testing.store_contract.observing import inbox_of, texts_of

MODELS = (Session, Stream, StreamEvent, Subscription)


def rows_of(alias: str) -> list[int]:
    return [model.objects.using(alias).count() for model in MODELS]


class WritingContract:
    @pytest.mark.parametrize("data", REFUSED_DATA)
    def test_a_create_that_fails_writes_nothing(
        self, store: DatabaseSessionStore, alias: str, data: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidSessionData):
            store.create(make_session(data=data))
        assert rows_of(alias) == [0, 0, 0, 0]

    def test_a_taken_identifier_writes_nothing(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        with pytest.raises(DuplicateIdentifier):
            store.create(make_session(digest=session.digest))
        assert rows_of(alias) == [1, 0, 0, 0]

    def test_a_taken_name_of_a_stream(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        name = put_stream(store, session)
        with pytest.raises(DuplicateIdentifier):
            store.open_stream(session.key, name, "get")
        assert rows_of(alias) == [1, 1, 0, 0]

    def test_a_batch_that_fails_writes_nothing(self, store: DatabaseSessionStore, alias: str) -> None:
        """Nor does it open a stream, or ring."""
        name, other = put_stream(store), put_stream(store)
        stream = Stream.objects.using(alias).get(name=other)
        in_the_way = StreamEvent.objects.using(alias).create(stream=stream, position=2, created_at=NOW)
        batch = [Append(name, messages("a")), Append(other, messages("b", "c"))]
        with pytest.raises(IntegrityError):
            store.append([*batch, Send(put(store).key, "message", "a")])
        assert rows_of(alias) == [3, 2, 1, 0]
        assert store.changes(0) == []
        in_the_way.delete()
        assert store.append(batch) == [((name, 1),), ((other, 1),)]

    def test_purge_leaves_nothing(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        names = [put_stream(store, session, "post", "worker") for _ in range(310)]
        store.append([Append(name, messages("a", "b")) for name in names])
        store.subscribe(session.key, "file:///a")
        post(store, session.key, "1")
        assert rows_of(alias) == [1, 311, 621, 1]
        store.end(session.key, NOW, EndReason.DELETED)
        assert store.purge(NOW, 500) == 1
        assert rows_of(alias) == [0, 0, 0, 0]

    def test_sweep_leaves_nothing(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        names = [put_stream(store, session, "post", "worker") for _ in range(310)]
        store.append([Append(name, messages("a", "b"), ends=True) for name in names])
        store.subscribe(session.key, "file:///a")
        post(store, session.key, "1")
        assert store.delete_unreachable(timezone.now() + HOUR, 500) == 311
        assert rows_of(alias) == [1, 0, 0, 1]

    def test_old_news_are_deleted(self, store: DatabaseSessionStore, alias: str) -> None:
        name = put_stream(store)
        for _ in range(3):
            store.append([Append(name, messages("a"))])
        numbers = [number for number, _ in store.changes(0)]
        Notification.objects.using(alias).filter(pk__in=numbers[:2]).update(created_at=timezone.now() - HOUR)
        store.delete_unreachable(NOW, 10)
        assert [number for number, _ in store.changes(0)] == numbers[2:]

    def test_numbers_of_news_go_on_after_all_were_deleted(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """Whoever waits for a number greater than the last one hears the next."""
        name = put_stream(store)
        store.append([Append(name, messages("a"))])
        [(last, _)] = store.changes(0)
        Notification.objects.using(alias).update(created_at=timezone.now() - HOUR)
        store.delete_unreachable(NOW, 10)
        store.append([Append(name, messages("b"))])
        assert [list(names) for _, names in store.changes(last)] == [[name]]

    def test_rows_are_named_by_what_opens_nothing(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        name = put_stream(store, session)
        store.append([Append(name, messages("a"))])
        store.subscribe(session.key, "file:///a")
        store.enlist("worker")
        rows = [model.objects.using(alias).get() for model in (*MODELS, Worker)]
        expected = [session.key, name, "message 1", "file:///a", "worker"]
        assert [str(row) for row in rows] == expected
        assert [str(row) for row in Notification.objects.using(alias).order_by("pk")] == [name]


class CallersTransactionContract:
    """A plain verb is part of the transaction it is called in."""

    def test_the_caller_rolls_back(self, store: DatabaseSessionStore, alias: str) -> None:
        """A refusal does not spoil the transaction."""
        session = put(store)
        with transaction.atomic(using=alias):
            name = put_stream(store, session)
            with pytest.raises(DuplicateIdentifier):
                store.create(make_session(digest=session.digest))
            assert store.append([Append(name, messages("a"))]) == [((name, 1),)]
            transaction.set_rollback(True, using=alias)
        assert rows_of(alias) == [1, 0, 0, 0]

    def test_what_is_rolled_back_may_be_stored_by_the_same_token(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """A refusal does not spoil the transaction either."""
        name = put_stream(store)
        with transaction.atomic(using=alias):
            store.append([Append(name, messages("a"))], "token")
            with pytest.raises(DuplicateIdentifier):
                store.append([Append(name, messages("a"))], "token")
            assert texts_of(store, name) == ["a"]
            transaction.set_rollback(True, using=alias)
        assert store.append([Append(name, messages("b"))], "token") == [((name, 1),)]
        assert texts_of(store, name) == ["b"]

    def test_what_is_rolled_back_rings_nothing(self, store: DatabaseSessionStore, alias: str) -> None:
        session, name = put(store), put_stream(store)
        with transaction.atomic(using=alias):
            store.append([Append(name, messages("a"))])
            store.append([Append(name, (), ends=True)])
            store.append([Send(session.key, "message", "a")])
            post(store, session.key, "1")
            store.end(session.key, NOW, "deleted")
            assert len(store.changes(0)) == 5
            transaction.set_rollback(True, using=alias)
        assert store.changes(0) == []
        assert store.load(session.digest) == session
        assert inbox_of(store, session) == []
