"""Who commits first, and what a reader sees meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import transaction

from mcp_sessions.models import Worker
from mcp_sessions.records import Append, Reading, Send
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import apost, messages, post, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import inbox_of, texts_of, together
from tests.emptying import empty
from tests.stores.database.aliases import in_thread, until

T = TypeVar("T")


class Commits:
    def is_somebody_waiting(self, alias: str) -> bool:
        """Whether another connection waits for a lock, which this one has."""
        raise NotImplementedError

    def behind(
        self,
        alias: str,
        first: Callable[[], object],
        second: Callable[[], T],
        meanwhile: Callable[[], object] = lambda: None,
        *,
        waits: bool = True,
    ) -> T:
        """What the second verb answers, which waits until the first one is committed, or may, or not."""
        with ThreadPoolExecutor(1) as executor:
            with transaction.atomic(using=alias):
                first()
                answer = executor.submit(second)
                # MariaDB refreshes what it says of locks only after 0.1 s without a question.
                until(lambda: answer.done() or self.is_somebody_waiting(alias), 60, every=0.15)
                meanwhile()
                assert not (waits and answer.done())
            return answer.result(timeout=60)


class CommitContract(Commits):
    def test_a_test_leaves_no_rows_for_the_next(self, store: DatabaseSessionStore, alias: str) -> None:
        """Nor what somebody whom it has left behind stores while its database is emptied."""
        self.behind(alias, lambda: store.enlist("late"), lambda: in_thread(alias, lambda: empty(alias)))
        assert list(Worker.objects.using(alias).values_list("name")) == []

    def test_a_reader_never_skips_a_position_whoever_commits_first(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """The writer that has 1 and is slow to commit holds up the one that would have 2."""
        name = put_stream(store)

        def nothing_is_seen() -> None:
            assert together(store.aread(name, 0, 10)) == [Reading(())]

        second = self.behind(
            alias,
            lambda: store.append([Append(name, messages("first"))]),
            lambda: together(store.aappend([Append(name, messages("second"))])),
            nothing_is_seen,
        )
        assert second == [[((name, 2),)]]
        assert texts_of(store, name) == ["first", "second"]

    def test_events_for_a_session_do_not_overtake_each_other(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)
        name = put_read(store, session)

        def nothing_is_seen() -> None:
            assert together(store.aread(name, 0, 10)) == [Reading(())]

        second = self.behind(
            alias,
            lambda: store.append([Send(session.key, "message", "first")]),
            lambda: together(store.aappend([Append(name, messages("second"))])),
            nothing_is_seen,
        )
        assert second == [[((name, 2),)]]
        assert texts_of(store, name) == ["first", "second"]

    def test_what_moves_into_a_stream_waits_for_what_is_added_there(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """Then all of it comes in the order in which it was stored."""
        session = put(store)
        left, to = put_stream(store, session), put_stream(store, session)
        store.append([Append(left, messages("waits"))])

        def nothing_is_seen() -> None:
            assert together(store.aread(to, 0, 10)) == [Reading(())]

        self.behind(
            alias,
            lambda: store.append([Append(to, messages("later"))]),
            lambda: together(store.aattach(session.key, to, "reader", 0, None)),
            nothing_is_seen,
        )
        assert texts_of(store, to) == ["waits", "later"]

    def test_messages_of_an_inbox_do_not_overtake_each_other(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)

        def nothing_is_seen() -> None:
            assert together(store.aread(session.key, 0, 10)) == [Reading(())]

        self.behind(
            alias,
            lambda: post(store, session.key, "1"),
            lambda: together(apost(store, session.key, "2")),
            nothing_is_seen,
        )
        assert inbox_of(store, session) == [(1, "1"), (2, "2")]

    def test_news_are_there_with_what_they_tell_of(self, store: DatabaseSessionStore, alias: str) -> None:
        session, name = put(store), put_stream(store)
        with transaction.atomic(using=alias):
            store.append([Append(name, messages("a"))])
            post(store, session.key, "1")
            store.end(session.key, session.created_at, "deleted")
            assert together(store.achanges(0)) == [[]]
        assert [list(names) for _, names in store.changes(0)] == [[name], [session.key], [session.key]]
