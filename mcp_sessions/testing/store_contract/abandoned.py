"""GET streams that were left: what waits in them moves on, and only so many of them stay."""

from __future__ import annotations

from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import EndReason, Send
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import NOW, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import streams_of, waiting_in


class AbandonedContract:
    def test_only_the_newest_that_were_left_stay(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        elsewhere = put_read(store, other)
        store.mark_delivered("reader", {elsewhere: 0}, leaving=True)
        names = []
        for number in range(6):
            name = new_stream_name()
            assert store.attach(session.key, name, "reader", 0, None, is_new=True, keep=2) is not None
            placed = store.append([Send(session.key, "message", f"{number}")])
            assert placed == [((name, number + 1),)]
            store.mark_delivered("reader", {name: 0}, leaving=True)
            names.append(name)
        # The last one was left after it was opened: it is one more than what stayed then.
        assert {stream.name for stream in streams_of(store, session.key)} == set(names[-3:])
        assert waiting_in(store, names[-1]) == [*"012345"]
        assert set(store.find_streams([*names, elsewhere])) == {*names[-3:], elsewhere}
        assert store.read(names[0], 0, 10) is None
        for gone in names[:-3]:
            assert store.attach(session.key, gone, "reader", 0, None, keep=2) is None
        assert store.attach(session.key, names[-2], "reader", 0, None, keep=2) is not None
        assert waiting_in(store, names[-2]) == [*"012345"]
        assert store.end(session.key, NOW, EndReason.DELETED) and store.purge(NOW, 10) == 1

    def test_those_that_are_read_and_replies_stay(self, store: BaseSessionStore) -> None:
        session = put(store)
        reply = put_stream(store, session, "post", "worker", [1])
        read = [put_read(store, session) for _ in range(3)]
        left = put_read(store, session)
        store.mark_delivered("reader", {left: 0}, leaving=True)
        new = new_stream_name()
        assert store.attach(session.key, new, "reader", 0, None, is_new=True, keep=0) is not None
        assert {stream.name for stream in streams_of(store, session.key)} == {
            reply,
            *read,
            new,
        }

    def test_without_a_bound_all_stay(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_read(store, session) for _ in range(4)]
        store.mark_delivered("reader", dict.fromkeys(names, 0), leaving=True)
        assert store.attach(session.key, names[0], "reader", 0, None) is not None
        assert len(streams_of(store, session.key)) == 4

    def test_of_what_has_moved_nothing_waits_where_it_was(self, store: BaseSessionStore) -> None:
        """Another stream was opened before its reader had taken all, and both are left."""
        session = put(store)
        first, second = put_read(store, session), new_stream_name()
        store.append([Send(session.key, "message", text) for text in "12"])
        assert store.read(first, 0, 10, worker="reader") is not None
        store.append([Send(session.key, "message", "3")])
        assert store.attach(session.key, second, "reader", 0, None, is_new=True) is not None
        assert store.read(second, 0, 10, worker="reader") is not None
        store.mark_delivered("reader", {first: 2, second: 1}, leaving=True)
        assert {each.delivered == each.position for each in streams_of(store, session.key)} == {True}
