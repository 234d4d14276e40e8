"""What waits in streams that nobody reads moves to the one that is attached."""

from __future__ import annotations

from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Append, Send
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.attachments import attach
from mcp_sessions.testing.store_contract.builders import messages, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import events_of, stream_of, texts_of, together, waiting_in


class TakeoverContract:
    def test_what_waits_moves_in_the_order_in_which_it_was_stored(self, store: BaseSessionStore) -> None:
        session = put(store)
        left, never_read, to = (
            put_read(store, session),
            put_stream(store, session),
            put_stream(store, session),
        )
        store.append([Append(to, messages("own"))])
        store.append([Append(left, messages("sent", "1"))])
        store.append([Append(never_read, messages("2"))])
        store.append([Append(left, messages("3", "4"))])
        store.mark_delivered("reader", {left: 1}, leaving=True)
        assert attach(store, session, to).stream.position == 5
        assert [event.position for event in events_of(store, to)] == [1, 2, 3, 4, 5]
        assert texts_of(store, to) == ["own", "1", "2", "3", "4"]
        assert texts_of(store, left) == ["sent"]
        assert texts_of(store, never_read) == []

    def test_what_is_not_its_to_take_stays(self, store: BaseSessionStore) -> None:
        """What another connection has taken, replies, and what is another session's."""
        session = put(store)
        is_read, reply, foreign = (
            put_read(store, session),
            put_stream(store, session, "post", "w"),
            put_stream(store),
        )
        for name in (is_read, reply, foreign):
            store.append([Append(name, messages(f"in {name}"))])
        store.read(is_read, 0, 10, worker="reader")
        store.mark_delivered("w", {reply: 0}, leaving=True)
        assert texts_of(store, put_read(store, session)) == []
        for name in (is_read, reply, foreign):
            assert texts_of(store, name) == [f"in {name}"]

    def test_a_stream_goes_on_after_it_gave_away_what_waited(self, store: BaseSessionStore) -> None:
        """Its positions go on, so that whoever resumes it misses nothing; and it may give again."""
        session = put(store)
        left = put_stream(store, session)
        store.append([Append(left, messages("1", "2"))])
        first = put_read(store, session)
        assert waiting_in(store, left) == []
        store.read(first, 0, 10, worker="reader")
        assert store.append([Append(left, messages("3"))]) == [((left, 3),)]
        assert attach(store, session, left, seen=0).stream.position == 3
        assert texts_of(store, left) == ["3"]
        store.mark_delivered("reader", {left: 0, first: 1}, leaving=True)
        store.append([Append(left, messages("4"))])
        last = put_read(store, session)
        assert texts_of(store, last) == ["2", "3", "4"]
        assert texts_of(store, first) == ["1"]

    def test_what_waited_first_comes_first_whatever_is_opened_meanwhile(
        self, store: BaseSessionStore
    ) -> None:
        """A stream that is opened, and not read yet, gets nothing that comes behind what waits elsewhere."""
        session = put(store)
        [[(left, _)]] = store.append([Send(session.key, "message", "1")])
        opened = put_stream(store, session)
        sends = [Send(session.key, "message", text) for text in "23"]
        assert store.append(sends) == [((left, 2),), ((left, 3),)]
        attach(store, session, opened)
        assert texts_of(store, opened) == ["1", "2", "3"]

    def test_messages_that_come_while_streams_open_are_in_order(self, store: BaseSessionStore) -> None:
        session = put(store)

        async def send() -> None:
            for n in range(12):
                await store.aappend([Send(session.key, "message", f"{n}")])

        async def open_and_leave() -> None:
            for _ in range(6):
                name = new_stream_name()
                await store.aattach(session.key, name, "reader", 0, None, is_new=True)
                await store.amark_delivered("reader", {name: 0}, leaving=True)

        together(send(), open_and_leave())
        assert texts_of(store, put_read(store, session)) == [f"{n}" for n in range(12)]

    def test_resuming_takes_over_behind_what_the_client_has_seen(self, store: BaseSessionStore) -> None:
        session = put(store)
        mine, other = put_read(store, session), put_read(store, session)
        store.append([Append(mine, messages("a", "b")), Append(other, messages("x"))])
        store.mark_delivered("reader", {mine: 0, other: 0}, leaving=True)
        assert attach(store, session, mine, seen=1).stream.delivered == 1
        assert waiting_in(store, mine) == ["b", "x"]

    def test_what_a_refused_client_did_not_get_waits_on(self, store: BaseSessionStore) -> None:
        session = put(store)
        left, to = put_stream(store, session), put_stream(store, session)
        store.append([Append(left, messages("a"))])
        assert store.attach(session.key, to, "reader", 1, None) is None
        assert waiting_in(store, left) == ["a"]

    def test_neither_a_reply_nor_a_stream_that_ended_takes_anything(self, store: BaseSessionStore) -> None:
        session = put(store)
        left, reply, ended = (
            put_stream(store, session),
            put_stream(store, session, "post", "w"),
            put_stream(store, session),
        )
        store.append([Append(left, messages("a")), Append(ended, (), ends=True)])
        for name in (reply, ended):
            attach(store, session, name)
            assert texts_of(store, name) == []
        assert waiting_in(store, left) == ["a"]

    def test_from_very_many_streams(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_stream(store, session) for _ in range(120)]
        for name in names:
            store.append([Append(name, messages(name, name))])
        assert texts_of(store, put_read(store, session)) == [name for name in names for _ in range(2)]
        assert not any(stream.position > stream.delivered for stream in store.find_streams(names).values())

    def test_an_event_is_taken_over_once(self, store: BaseSessionStore) -> None:
        session = put(store)
        left = put_stream(store, session)
        streams = [put_stream(store, session) for _ in range(4)]
        store.append([Append(left, messages(*"abcdef"))])
        together(*(store.aattach(session.key, to, "reader", 0, None) for to in streams))
        assert sorted(text for to in streams for text in texts_of(store, to)) == list("abcdef")
        assert stream_of(store, left).delivered == 6
