"""Events for a session: on which of its streams they go."""

from __future__ import annotations

from mcp_sessions.identifiers import new_key, new_stream_name
from mcp_sessions.records import Append, EndReason, Placed, Send
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import NOW, messages, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import stream_of, texts_of, together, waiting_in


class SendContract:
    def test_it_goes_to_the_stream_that_was_attached_last(self, store: BaseSessionStore) -> None:
        session = put(store)
        first, second = put_read(store, session), put_read(store, session)
        put_stream(store, session)
        put_stream(store, session, "post", "reader")
        put_read(store, put(store))
        assert store.append([Send(session.key, "message", "a")]) == [((second, 1),)]
        store.read(second, 0, 10, worker="reader")
        store.attach(session.key, first, "reader", 0, None)
        assert store.append([Send(session.key, "message", "b")]) == [((first, 1),)]
        store.mark_delivered("reader", {first: 1}, leaving=True)
        assert store.append([Send(session.key, "order-shipped", "c")]) == [((second, 2),)]
        assert (texts_of(store, first), texts_of(store, second)) == (["b"], ["a", "c"])

    def test_everywhere_is_every_stream_that_is_read(self, store: BaseSessionStore) -> None:
        session = put(store)
        read = [put_read(store, session) for _ in range(3)]
        unread, reply = put_stream(store, session), put_stream(store, session, "post", "reader")
        placed = store.append([Send(session.key, "session-warning", "{}", everywhere=True)])
        assert [sorted(places) for places in placed] == [sorted((name, 1) for name in read)]
        assert all(texts_of(store, name) == ["{}"] for name in read)
        assert texts_of(store, unread) == texts_of(store, reply) == []

    def test_it_waits_in_the_newest_while_none_is_read(self, store: BaseSessionStore) -> None:
        session = put(store)
        older, newer = put_read(store, session), put_read(store, session)
        store.mark_delivered("reader", {newer: 0, older: 0}, leaving=True)
        sends = [Send(session.key, "message", "a"), Send(session.key, "custom", "b", everywhere=True)]
        assert store.append(sends) == [((newer, 1),), ((newer, 2),)]
        assert waiting_in(store, newer) == ["a", "b"]
        assert texts_of(store, older) == []

    def test_only_now_waits_nowhere(self, store: BaseSessionStore) -> None:
        """Neither in a stream that was left nor in one that would be opened for it."""
        left, never_open, is_read = put(store), put(store), put(store)
        names = {session.key: put_read(store, session) for session in (left, is_read)}
        store.mark_delivered("reader", {names[left.key]: 0}, leaving=True)
        for everywhere in (False, True):
            sends = [
                Send(session.key, "message", "now", everywhere=everywhere, only_now=True)
                for session in (left, never_open, is_read)
            ]
            placed = store.append(sends)
            assert [bool(places) for places in placed] == [False, False, True]
        assert texts_of(store, names[left.key]) == []
        assert texts_of(store, names[is_read.key]) == ["now", "now"]
        fresh = put_read(store, never_open)
        assert texts_of(store, fresh) == []

    def test_it_opens_a_stream_where_there_is_none(self, store: BaseSessionStore) -> None:
        session = put(store)
        put_stream(store, session, "post", "worker")
        first, again = store.append([Send(session.key, "message", "a"), Send(session.key, "message", "b")])
        [(name, position)] = first
        assert (position, again) == (1, ((name, 2),))
        opened = stream_of(store, name)
        assert (opened.session_key, opened.kind, opened.reader, opened.writer) == (session.key, "get", "", "")
        assert store.append([Send(session.key, "message", "c")]) == [((name, 3),)]
        fresh = put_read(store, session)
        assert texts_of(store, fresh) == ["a", "b", "c"]

    def test_a_stream_that_ended_gets_nothing(self, store: BaseSessionStore) -> None:
        session = put(store)
        older, newer = put_read(store, session), put_read(store, session)
        store.append([Append(newer, (), ends=True)])
        assert store.append([Send(session.key, "message", "a")]) == [((older, 1),)]

    def test_a_session_that_is_over_gets_nothing(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        name = put_read(store, session)
        store.end(session.key, NOW, EndReason.DELETED)
        sends = [Send(key, "message", "late") for key in (session.key, new_key(), other.key)]
        refused, unknown, placed = store.append(sends)
        assert refused == unknown == ()
        assert len(placed) == 1
        assert texts_of(store, name) == []

    def test_a_batch_keeps_its_order(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        name, reply, far = (
            put_read(store, session),
            put_stream(store, session, "post", "w"),
            put_read(store, other),
        )
        batch: list[Append | Send] = [
            Send(session.key, "message", "1"),
            Append(name, messages("2", "3")),
            Send(other.key, "message", "x"),
            Append(reply, messages("r"), ends=True, writer="w"),
            Append(new_stream_name(), messages("lost")),
            Send(session.key, "message", "4", everywhere=True),
        ]
        expected: list[Placed] = [
            ((name, 1),),
            ((name, 2),),
            ((far, 1),),
            ((reply, 1),),
            (),
            ((name, 4),),
        ]
        assert store.append(batch) == expected
        assert texts_of(store, name) == ["1", "2", "3", "4"]

    def test_many_sessions_at_once(self, store: BaseSessionStore) -> None:
        sessions = [put(store) for _ in range(12)]
        names = [put_read(store, session) for session in sessions]

        def batch(step: int) -> list[Append | Send]:
            return [Send(session.key, "message", "a") for session in sessions[::step]]

        together(*(store.aappend(batch(step)) for step in [1, -1] * 8))
        assert [stream_of(store, name).position for name in names] == [16] * 12

    def test_whatever_is_attached_meanwhile_each_is_in_one_stream(self, store: BaseSessionStore) -> None:
        """None is lost, none is there twice, and none waits in a stream that is not read."""
        session = put(store)
        names: set[str] = set()

        async def send(n: int) -> None:
            [places] = await store.aappend([Send(session.key, "message", f"{n}")])
            assert len(places) == 1
            names.add(places[0][0])

        async def attach(n: int) -> None:
            name = (await store.aopen_stream(session.key, new_stream_name(), "get")).name
            names.add(name)
            await store.aattach(session.key, name, f"worker {n}", 0, None)

        calls = [send(n) for n in range(20)]
        for n in range(10):
            calls.insert(3 * n, attach(n))
        together(*calls)
        streams = store.find_streams(sorted(names))
        assert streams.keys() == names
        kept = [text for name in names for text in texts_of(store, name)]
        assert sorted(kept, key=int) == [f"{n}" for n in range(20)]
        assert not any(waiting_in(store, name) for name in names if not streams[name].reader)

    def test_whoever_leaves_meanwhile_none_is_lost(self, store: BaseSessionStore) -> None:
        """What its clients were sent, and what the next one finds, is each message once."""
        session = put(store)
        sent: list[str] = []
        names: set[str] = set()

        async def send(n: int) -> None:
            [places] = await store.aappend([Send(session.key, "message", f"{n}")])
            names.update(name for name, _ in places)

        async def visit(n: int) -> None:
            name = (await store.aopen_stream(session.key, new_stream_name(), "get")).name
            await store.aattach(session.key, name, f"worker {n}", 0, None)
            reading = await store.aread(name, 0, 100, worker=f"worker {n}")
            assert reading is not None
            sent.extend(event.data for event in reading.events)
            position = reading.events[-1].position if reading.events else 0
            await store.amark_delivered(f"worker {n}", {name: position}, leaving=True)

        calls = [send(n) for n in range(20)]
        for n in range(10):
            calls.insert(3 * n, visit(n))
        together(*calls)
        last = put_read(store, session)
        assert sorted([*sent, *texts_of(store, last)], key=int) == [f"{n}" for n in range(20)]
        assert not any(waiting_in(store, name) for name in names)
