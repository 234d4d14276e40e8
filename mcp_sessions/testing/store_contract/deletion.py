"""What is deleted of sessions that live: events that were delivered, streams that were left."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Append, Reading, Send, SessionRecord
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.attachments import attach
from mcp_sessions.testing.store_contract.builders import (
    HOUR,
    configured,
    messages,
    post,
    put,
    put_read,
    put_stream,
)
from mcp_sessions.testing.store_contract.observing import (
    events_of,
    inbox_of,
    reload,
    stream_of,
    texts_of,
    together,
)


def put_left(store: BaseSessionStore, session: SessionRecord, delivered: int = 2) -> str:
    """A GET stream with two events that its client has left."""
    name = put_read(store, session)
    store.append([Append(name, messages("a", "b"))])
    store.mark_delivered("reader", {name: delivered}, leaving=True)
    return name


def put_reply(store: BaseSessionStore, session: SessionRecord, *, ends: bool) -> str:
    name = put_stream(store, session, "post", "worker")
    store.append([Append(name, messages("answer"), ends=ends, writer="worker")])
    return name


class DeletionContract:
    def test_streams_that_were_left_are_deleted(self, store: BaseSessionStore) -> None:
        session = put(store)
        never_read, left, reply = (
            put_stream(store, session),
            put_left(store, session),
            put_reply(store, session, ends=True),
        )
        call = put_stream(store, session, "call", "worker")
        store.append([Append(call, (), ends=True, writer="worker")])
        come_and_gone = put_reply(store, session, ends=True)
        attach(store, session, come_and_gone)
        store.mark_delivered("reader", {come_and_gone: 1}, leaving=True)
        names = [never_read, left, reply, call, come_and_gone]
        assert store.delete_unreachable(timezone.now() + HOUR, 10) == 5
        assert store.find_streams(names) == {}
        for name in names:
            assert store.read(name, 0, 10) is None
            assert store.append([Append(name, messages("late"))]) == [()]
            assert store.attach(session.key, name, "reader", 0, None) is None
        assert store.load(session.digest) == session

    def test_what_is_read_or_runs_or_waits_stays(self, store: BaseSessionStore) -> None:
        session = put(store)
        is_read, waits = put_read(store, session), put_left(store, put(store), delivered=1)
        runs, runs_unread = put_reply(store, session, ends=False), put_reply(store, session, ends=False)
        store.mark_delivered("worker", {runs_unread: 1}, leaving=True)
        runs_long = put_stream(store, session, "call", "worker")
        fetched = put_reply(store, session, ends=True)
        attach(store, session, fetched)
        names = [is_read, waits, runs, runs_unread, runs_long, fetched]
        before = store.find_streams(names)
        assert store.delete_unreachable(timezone.now() + HOUR, 10) == 0
        assert store.find_streams(names) == before
        assert texts_of(store, waits) == ["a", "b"]

    def test_what_was_used_since_stays(self, store: BaseSessionStore) -> None:
        session = put(store)
        old = [put_stream(store, session), put_left(store, session), put_reply(store, session, ends=True)]
        come_back, runs = put_left(store, session), put_reply(store, session, ends=False)
        assert store.delete_unreachable(timezone.now() - HOUR, 10) == 0
        instant = timezone.now()
        new = [put_stream(store, session), put_left(store, session), put_reply(store, session, ends=True)]
        attach(store, session, come_back)
        store.mark_delivered("reader", {come_back: 2}, leaving=True)
        store.append([Append(runs, (), ends=True, writer="worker")])
        assert store.delete_unreachable(instant, 10) == 3
        assert store.find_streams([*old, *new, come_back, runs]).keys() == {*new, come_back, runs}

    def test_deletion_deletes_at_most_its_limit(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_left(store, session) for _ in range(5)]
        after = timezone.now() + HOUR
        assert [store.delete_unreachable(after, 2) for _ in range(4)] == [2, 2, 1, 0]
        assert store.find_streams(names) == {}

    def test_deletions_at_once_delete_each_stream_once(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_left(store, session) for _ in range(12)]
        deleted = sum(together(*(store.adelete_unreachable(timezone.now() + HOUR, 5) for _ in range(4))))
        while more := store.delete_unreachable(timezone.now() + HOUR, 5):
            deleted += more
        assert deleted == 12
        assert store.find_streams(names) == {}

    def test_an_inbox_that_nobody_adds_to_loses_its_messages(self, store: BaseSessionStore) -> None:
        session = put(store)
        instant = timezone.now()
        for text in ("1", "2"):
            assert post(store, session.key, text)
        assert store.delete_unreachable(instant, 10) == 0
        assert inbox_of(store, session) == [(1, "1"), (2, "2")]
        assert store.delete_unreachable(timezone.now() + HOUR, 10) == 1
        assert inbox_of(store, session) == []
        assert reload(store, session).inbox == 2
        assert post(store, session.key, "3")
        assert inbox_of(store, session, 2) == [(3, "3")]

    def test_the_newest_changes_stay(self, store: BaseSessionStore) -> None:
        """Whatever else is old: everybody may still be on the way to them."""
        name = put_stream(store)
        store.append([Append(name, messages("a"))])
        store.delete_unreachable(timezone.now() + HOUR, 10)
        assert [names for _, names in store.changes(0)] == [[name]]


class TrimContract:
    def test_the_last_events_stay(self, store: BaseSessionStore) -> None:
        session = put(store)
        name, other = put_read(store, session), put_read(store, session)
        store.append([Append(each, messages(*"abcdef")) for each in (name, other)])
        store.mark_delivered("reader", {name: 6, other: 6})
        long_ago = timezone.now() - HOUR
        assert store.trim([name, new_stream_name()], 2, long_ago) == 4
        assert [event.position for event in events_of(store, name)] == [5, 6]
        assert store.trim([name], 2, long_ago) == 0
        assert len(events_of(store, other)) == 6
        assert store.trim([], 0, long_ago) == 0

    def test_what_is_older_goes_too(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        store.append([Append(name, messages("a", "b"))])
        instant = timezone.now()
        store.append([Append(name, messages("c", "d"))])
        store.mark_delivered("reader", {name: 4})
        assert store.trim([name], 100, instant) == 2
        assert texts_of(store, name) == ["c", "d"]

    def test_what_was_not_delivered_stays(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        store.append([Append(name, messages(*"abcd"))])
        store.mark_delivered("reader", {name: 2})
        assert store.trim([name], 0, timezone.now() + HOUR) == 2
        assert texts_of(store, name) == ["c", "d"]

    def test_a_stream_goes_on_after_it_was_trimmed(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        store.append([Append(name, messages("a", "b"))])
        store.mark_delivered("reader", {name: 2})
        store.trim([name], 0, timezone.now() - timedelta(days=1))
        assert (stream_of(store, name).position, stream_of(store, name).delivered) == (2, 2)
        assert store.append([Append(name, messages("c"))]) == [((name, 3),)]
        assert attach(store, session, name, seen=2).stream.delivered == 2
        assert [event.position for event in events_of(store, name)] == [3]

    def test_many_streams(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_read(store, session) for _ in range(20)]
        store.append([Append(name, messages("a", "b")) for name in names])
        store.mark_delivered("reader", dict.fromkeys(names, 2))
        assert store.trim(names, 1, timezone.now() - HOUR) == 20
        assert [texts_of(store, name) for name in names] == [["b"]] * 20

    def test_no_more_than_so_much_data_stays(self, store: BaseSessionStore) -> None:
        session, long_ago = put(store), timezone.now() - HOUR
        name, reply = put_read(store, session), put_stream(store, session, "post", "reader", (1,))
        for each in (name, reply):
            store.append([Append(each, messages("a" * 10, "b" * 10, "c" * 10, "d" * 10))])
        store.mark_delivered("reader", {name: 4, reply: 3})
        assert store.trim([name, reply], 100, long_ago, 40) == 0
        assert store.trim([name, reply], 100, long_ago, 29) == 4
        assert texts_of(store, name) == texts_of(store, reply) == ["c" * 10, "d" * 10]
        assert store.trim([name, reply], 100, long_ago, 5) == 3
        assert (texts_of(store, name), texts_of(store, reply)) == ([], ["d" * 10])
        # What comes later is counted anew.
        store.append([Append(each, messages("e")) for each in (name, reply)])
        store.mark_delivered("reader", {name: 5, reply: 5})
        assert store.trim([name, reply], 100, long_ago, 11) == 0

    def test_what_has_moved_away_counts_no_more(self, store: BaseSessionStore) -> None:
        session, long_ago = put(store), timezone.now() - HOUR
        name = put_read(store, session)
        store.append([Append(name, messages("a" * 10, "b" * 100))])
        store.mark_delivered("reader", {name: 1}, leaving=True)
        other = put_read(store, session)
        store.read(other, 0, 10, worker="reader")
        attach(store, session, name, seen=1)
        assert store.trim([name], 100, long_ago, 20) == 0
        assert stream_of(store, name).trimmed == 0

    def test_the_reply_to_a_batch_stays_until_it_has_ended(self, store: BaseSessionStore) -> None:
        """Its answers say which of its requests are still to be answered. An id with a comma is no batch."""
        session = put(store)
        batch, alone = (put_stream(store, session, "post", "worker", ids) for ids in ((1, "two"), ("a,b",)))
        store.append([Append(each, messages("a", "b")) for each in (batch, alone)])
        store.mark_delivered("worker", {batch: 2, alone: 2})
        after = timezone.now() + HOUR
        assert store.trim([batch, alone], 1, after) == 2
        assert (texts_of(store, batch), texts_of(store, alone)) == (["a", "b"], [])
        store.append([Append(batch, (), ends=True, writer="worker")])
        assert store.trim([batch], 1, after) == 2


class ResumeAfterTrimContract:
    """Nobody goes on in a stream behind what was deleted."""

    def test_a_place_whose_continuation_is_gone_is_refused(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        reply = put_stream(store, session, "post", "reader")
        for each in (name, reply):
            store.append([Append(each, messages(*"abcdef"))])
            store.mark_delivered("reader", {each: 6})
            assert store.trim([each], 2, timezone.now() - HOUR) == 4
            assert stream_of(store, each).trimmed == 4
            before = stream_of(store, each)
            for seen in (0, 3):
                assert store.attach(session.key, each, "other", seen, 1) is None
            assert stream_of(store, each) == before
            assert attach(store, session, each, seen=4).stream.trimmed == 4
            assert texts_of(store, each, after=4) == ["e", "f"]

    def test_also_when_nothing_of_it_is_left(self, store: BaseSessionStore) -> None:
        session = put(store)
        reply = put_stream(store, session, "post", "reader")
        store.append([Append(reply, messages("a", "b"), ends=True)])
        attach(store, session, reply, seen=2)
        assert store.trim([reply], 0, timezone.now() + HOUR) == 2
        assert store.attach(session.key, reply, "reader", 1, None) is None
        assert attach(store, session, reply, seen=2).stream.ended_at is not None

    def test_a_reader_behind_the_trimmed_events_learns_how_far_they_go(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        store.append([Append(name, messages(*"abcd"))])
        store.mark_delivered("reader", {name: 4})
        store.trim([name], 1, timezone.now() - HOUR)
        reading = store.read(name, 1, 10)
        assert reading is not None
        assert ([event.position for event in reading.events], reading.trimmed) == ([4], 3)
        assert store.read(name, 4, 10) == Reading((), trimmed=3)

    def test_what_was_dropped_is_not_skipped_either(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        store.append([Send(session.key, "message", "seen")])
        store.mark_delivered("reader", {name: 1}, leaving=True)
        with configured(MAX_PENDING=2):
            store.append([Send(session.key, "message", text) for text in "abcd"])
        assert store.attach(session.key, name, "reader", 1, None) is None
        assert texts_of(store, put_read(store, session)) == ["c", "d"]

    def test_a_client_that_comes_back_for_a_reply_may_ask_for_all_of_it_again(
        self, store: BaseSessionStore
    ) -> None:
        """What was sent need not have arrived: while it is sent again none of it is deleted."""
        session = put(store)
        reply = put_stream(store, session, "post", "worker")
        store.append([Append(reply, messages(*"abcd"), writer="worker")])
        store.mark_delivered("worker", {reply: 4})
        assert attach(store, session, reply, "other", seen=1).stream.delivered == 1
        assert store.trim([reply], 0, timezone.now() + HOUR) == 1
        assert texts_of(store, reply) == ["b", "c", "d"]
        store.mark_delivered("other", {reply: 3})
        assert store.trim([reply], 0, timezone.now() + HOUR) == 2
