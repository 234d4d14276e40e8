"""What is promised where the database is a server: it may be restarted, and many write at once."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest
from django.db import connections, transaction
from django.utils import timezone

from mcp_sessions.delivery.watermark import GAP_SECONDS, Watermark
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.models import Notification, StreamEvent
from mcp_sessions.records import Append, Send
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, messages, post, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import events_of, firsts, stream_of, texts_of, together
from tests.stores.database.aliases import in_thread
from tests.stores.database.contract import DatabaseContract
from tests.stores.database.waiting import WaitingContract


class ServerContract(WaitingContract, DatabaseContract):
    def kill_the_others(self, alias: str) -> None:
        """End every other connection to the database, from the server's side."""
        raise NotImplementedError

    def test_the_store_finds_back_after_its_connections_were_killed(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)
        name = put_stream(store, session)
        together(*(store.aload(session.digest) for _ in range(20)))
        for n in range(3):
            self.kill_the_others(alias)
            answers = together(*(store.aappend([Append(name, messages("a"))]) for _ in range(8)))
            positions = [firsts(placed)[0] or 0 for placed in answers]
            assert sorted(positions) == list(range(8 * n + 1, 8 * n + 9))
            self.kill_the_others(alias)
            assert together(*(store.aload(session.digest) for _ in range(8))) == [session] * 8

    def test_the_callers_connection_is_found_back_too(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        in_thread(alias, lambda: self.kill_the_others(alias))
        assert store.load(session.digest) == session
        in_thread(alias, lambda: self.kill_the_others(alias))
        assert store.save_metadata(session.key, {"a": 1})

    def test_nothing_is_tried_again_inside_the_callers_transaction(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)
        with pytest.raises(StoreUnavailable), transaction.atomic(using=alias):
            store.save_metadata(session.key, {"first": 1})
            in_thread(alias, lambda: self.kill_the_others(alias))
            store.save_metadata(session.key, {"second": 1})
        assert store.load(session.digest) == session

    def test_a_connection_that_was_closed_under_it(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        connections[alias].connection.close()
        assert store.load(session.digest) == session
        connections[alias].connection.close()
        assert store.append([Append(new_stream_name(), messages("a"))]) == [()]

    def test_appends_to_many_streams_in_any_order(self, store: DatabaseSessionStore) -> None:
        """Batches that name the same streams in different orders, while sessions end: no deadlock."""
        sessions = [put(store) for _ in range(4)]
        names = [put_read(store, session) for session in sessions for _ in range(5)]
        batches = [[Append(name, messages("a")) for name in names[:: (-1) ** n]] for n in range(24)]

        async def work() -> None:
            ends = (store.aend(session.key, NOW, "deleted") for session in sessions[2:])
            delivered = (store.amark_delivered("reader", dict.fromkeys(names, n)) for n in range(8))
            await asyncio.gather(*map(store.aappend, batches), *ends, *delivered)

        asyncio.run(work())
        assert [len(events_of(store, name)) for name in names[:10]] == [24] * 10

    def test_nothing_waits_for_whoever_has_the_session(self, store: DatabaseSessionStore, alias: str) -> None:
        """Neither the last event of a reply nor who leaves: the session's holder may wait for the stream."""
        session = put(store)
        name, reply = put_read(store, session), put_stream(store, session, "post", "writer")
        store.append([Append(name, messages("a"))])
        with transaction.atomic(using=alias):
            store.save_metadata(session.key, {"a": 1})
            last = Append(reply, messages("answer"), ends=True, writer="writer")
            assert together(store.aappend([last])) == [[((reply, 1),)]]
            together(store.amark_delivered("reader", {name: 1}, leaving=True))
        assert stream_of(store, name).reader == ""

    def test_what_workers_agree_on_is_by_the_databases_clock(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)
        first, second = put_stream(store, session), put_stream(store, session)
        ahead = timezone.now() + HOUR
        with mock.patch.object(timezone, "now", return_value=ahead):
            store.attach(session.key, first, "fast", 0, None)
            store.append([Append(first, messages("a"))])
            post(store, session.key, "1")
            assert store.now() < ahead
        store.attach(session.key, second, "slow", 0, None)
        # The newest is the one that was attached last, whoever did it.
        store.append([Send(session.key, "message", "b")])
        assert texts_of(store, second)[-1] == "b"
        assert all(each.created_at < ahead for each in Notification.objects.using(alias).all())
        assert all(event.created_at < ahead for event in StreamEvent.objects.using(alias).all())

    # -- news ----------------------------------------------------------------------------

    def test_news_whose_transactions_commit_in_the_other_order(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """What the poller does: each is found once, although the greater number is seen first."""
        slow, quick = put_stream(store), put_stream(store)
        watermark = Watermark(store.last_change(NOW))
        seen: list[tuple[float, int, str]] = []

        def look(now: float) -> None:
            [news] = together(store.achanges(watermark.low))
            rung = dict(news)
            seen.extend((now, number, " ".join(rung[number])) for number in watermark.take(rung, now))

        with transaction.atomic(using=alias):
            store.append([Append(slow, messages("a"))])
            [(first, _)] = store.changes(0)
            together(store.aappend([Append(quick, messages("a"))]))
            look(1.0)
            look(1.0 + 0.9 * GAP_SECONDS)
        look(1.0 + GAP_SECONDS)
        look(1.0 + 3 * GAP_SECONDS)
        assert seen == [(1.0, first + 1, quick), (1.0 + GAP_SECONDS, first, slow)]
        assert watermark.low == first + 1

    def test_news_that_were_rolled_back_hold_nobody_up(self, store: DatabaseSessionStore, alias: str) -> None:
        name = put_stream(store)
        store.append([Append(name, messages("a"))])
        with transaction.atomic(using=alias):
            store.append([Append(name, messages("b"))])
            transaction.set_rollback(True, using=alias)
        store.append([Append(name, messages("c"))])
        watermark = Watermark(0)
        numbers = [number for number, _ in store.changes(0)]
        assert len(numbers) == 2
        assert watermark.take(numbers, 0.0) == numbers
        assert watermark.take(numbers, GAP_SECONDS) == []
        assert watermark.low == numbers[-1]
