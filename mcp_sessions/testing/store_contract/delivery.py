"""How far streams were sent to their clients, by whoever reads them."""

from __future__ import annotations

from django.utils import timezone

from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Append
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.attachments import attach, reader_of
from mcp_sessions.testing.store_contract.builders import messages, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import stream_of, texts_of, together, waiting_in


def delivered(store: BaseSessionStore, *names: str) -> list[int]:
    return [stream_of(store, name).delivered for name in names]


class DeliveryContract:
    def test_delivery_only_moves_forward(self, store: BaseSessionStore) -> None:
        session = put(store)
        name, other = put_read(store, session), put_read(store, session)
        store.append([Append(name, messages("a", "b", "c")), Append(other, messages("x", "y", "z"))])
        store.mark_delivered("reader", {name: 2, other: 1, new_stream_name(): 4})
        assert delivered(store, name, other) == [2, 1]
        store.mark_delivered("reader", {name: 1, other: 1})
        assert delivered(store, name, other) == [2, 1]
        together(*(store.amark_delivered("reader", {name: n, other: n}) for n in (3, 1, 2, 3)))
        assert delivered(store, name, other) == [3, 3]
        store.mark_delivered("reader", {})

    def test_only_who_reads_a_stream_knows(self, store: BaseSessionStore) -> None:
        session = put(store)
        mine, yours, unread = (
            put_read(store, session, "me"),
            put_read(store, session, "you"),
            put_stream(store),
        )
        store.append([Append(name, messages("a", "b")) for name in (mine, yours, unread)])
        store.mark_delivered("me", {mine: 1, yours: 1, unread: 1})
        assert delivered(store, mine, yours, unread) == [1, 0, 0]
        attach(store, session, mine, "you")
        store.mark_delivered("me", {mine: 2})
        assert delivered(store, mine) == [1]

    def test_who_leaves_reads_no_more(self, store: BaseSessionStore) -> None:
        session = put(store)
        left, kept = put_read(store, session, "me"), put_read(store, session, "me")
        reply = put_stream(store, session, "post", "me")
        store.append([Append(name, messages("a", "b")) for name in (left, kept, reply)])
        store.mark_delivered("me", {left: 1, reply: 2}, leaving=True)
        # What waited on the one that was left has moved to the one that is read, before what is later there.
        assert waiting_in(store, left) == waiting_in(store, reply) == []
        assert waiting_in(store, kept) == ["b", "a", "b"]
        assert texts_of(store, left) == ["a"]
        assert [reader_of(store, name) for name in (left, kept, reply)] == ["", "me", ""]
        assert stream_of(store, reply).writer == "me"
        store.mark_delivered("me", {left: 3})
        assert delivered(store, left) == [2]

    def test_undelivered_events_of_a_left_stream_notify_of_the_stream_that_is_read(
        self, store: BaseSessionStore
    ) -> None:
        session = put(store)
        left, older, newer = (put_read(store, session, reader) for reader in ("dead", "me", "me"))
        store.append([Append(left, messages("a"))])
        before = store.last_change(timezone.now())
        store.mark_delivered("dead", {left: 0}, leaving=True)
        assert texts_of(store, newer) == ["a"]
        assert texts_of(store, older) == texts_of(store, left) == []
        assert [name for _, names in store.changes(before) for name in names][-1:] == [newer]

    def test_what_waits_stays_while_nobody_reads_anything(self, store: BaseSessionStore) -> None:
        session = put(store)
        left = put_read(store, session, "me")
        reply = put_stream(store, session, "post", "me")
        store.append([Append(left, messages("a"))])
        store.mark_delivered("me", {left: 0, reply: 0}, leaving=True)
        assert texts_of(store, left) == ["a"]

    def test_what_waits_on_a_dead_workers_stream_comes_on_another(self, store: BaseSessionStore) -> None:
        session = put(store)
        left, kept = put_read(store, session, "dead"), put_read(store, session, "me")
        store.append([Append(left, messages("a"))])
        store.enlist("dead")
        store.take_over("dead", "me", 10)
        assert texts_of(store, kept) == ["a"]

    def test_who_was_displaced_does_not_leave_for_another(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session, "me")
        store.append([Append(name, messages("a"))])
        attach(store, session, name, "you")
        store.mark_delivered("me", {name: 1}, leaving=True)
        assert (reader_of(store, name), delivered(store, name)) == ("you", [0])

    def test_a_stream_that_ended_is_marked_too(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_stream(store, session, "post", "writer")
        attach(store, session, name, "reader")
        store.append([Append(name, messages("a", "b"), ends=True)])
        store.mark_delivered("reader", {name: 2}, leaving=True)
        assert (reader_of(store, name), delivered(store, name)) == ("", [2])
