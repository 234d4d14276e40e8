"""Streams: open, find, read."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest
from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.identifiers import new_key, new_stream_name
from mcp_sessions.records import Append, EndReason, Event, Reading, StreamKind
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import NOW, messages, put, put_stream
from mcp_sessions.testing.store_contract.observing import stream_of, streams_of, texts_of, together

CLOCKS_DIFFER: Final = timedelta(seconds=5)
"""Redis has a clock of its own."""


class StreamContract:
    @pytest.mark.parametrize(
        ("kind", "worker", "reader"), [("get", "", ""), ("post", "worker", "worker"), ("call", "worker", "")]
    )
    def test_a_stream_begins_empty(
        self, store: BaseSessionStore, kind: StreamKind, worker: str, reader: str
    ) -> None:
        session = put(store)
        stream = store.open_stream(session.key, new_stream_name(), kind, worker)
        assert (stream.session_key, stream.kind) == (session.key, kind)
        assert (stream.position, stream.delivered, stream.ended_at) == (0, 0, None)
        assert (stream.writer, stream.reader, stream.request_ids) == (worker, reader, ())
        assert stream_of(store, stream.name) == stream
        assert store.read(stream.name, 0, 10) == Reading(())

    def test_the_request_ids_are_kept(self, store: BaseSessionStore) -> None:
        """A number and its digits are two ids, and a client may use any text."""
        ids = (1, "1", -(2**53), "", "ü 😀", 'a"b\\c\x00d\ud800 e', "x" * 300)
        name = put_stream(store, put(store), "post", "worker", ids)
        assert stream_of(store, name).request_ids == ids

    def test_an_ended_session_gets_no_stream(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.end(session.key, NOW, EndReason.DELETED)
        for key in (session.key, new_key()):
            with pytest.raises(SessionEnded):
                store.open_stream(key, new_stream_name(), "get")

    def test_the_reply_of_a_running_call_outlives_its_session(self, store: BaseSessionStore) -> None:
        """The call is cancelled, and says so in its reply."""
        session = put(store)
        reply = put_stream(store, session, "post", "worker")
        store.end(session.key, NOW, EndReason.DELETED)
        assert stream_of(store, reply).ended_at is None
        answer = Append(reply, (("message", "{}"),), ends=True, writer="worker")
        assert store.append([answer]) == [((reply, 1),)]
        assert store.append([answer]) == [()]

    def test_a_stream_opened_while_its_session_ends_is_ended_too(self, store: BaseSessionStore) -> None:
        session = put(store)

        async def open_one() -> str | None:
            try:
                return (await store.aopen_stream(session.key, new_stream_name(), "get")).name
            except SessionEnded:
                return None

        async def end() -> str | None:
            await store.aend(session.key, NOW, EndReason.DELETED)
            return None

        names = together(*(open_one() for _ in range(6)), end(), *(open_one() for _ in range(6)))
        opened = [name for name in names if name]
        found = store.find_streams(opened)
        assert found.keys() == set(opened)
        assert all(stream.ended_at == NOW for stream in found.values())

    def test_a_name_is_taken_in_every_session(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        with pytest.raises(DuplicateIdentifier):
            store.open_stream(put(store).key, name, "get")

    def test_unknown_streams_are_left_out(self, store: BaseSessionStore) -> None:
        session = put(store)
        first, second, other = put_stream(store, session), put_stream(store, session), put_stream(store)
        store.append([Append(second, messages("a"), ends=True)])
        found = store.find_streams([second, new_stream_name(), first])
        assert found.keys() == {first, second}
        assert {stream.session_key for stream in found.values()} == {session.key}
        assert (found[first].ended_at, found[first].position) == (None, 0)
        assert found[second].ended_at is not None
        assert found[second].position == 1
        assert stream_of(store, other).session_key != session.key
        assert store.find_streams([]) == {}

    def test_many_streams_are_found_at_once(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        assert list(store.find_streams([*(new_stream_name() for _ in range(700)), name])) == [name]

    def test_the_streams_of_a_session(self, store: BaseSessionStore) -> None:
        session, bare = put(store), put(store)
        names = sorted(put_stream(store, session, kind, "worker") for kind in ("get", "post", "call"))
        put_stream(store)
        store.append([Append(names[0], messages("a"), ends=True, writer="worker")])
        assert streams_of(store, session.key) == [stream_of(store, name) for name in names]
        assert streams_of(store, bare.key) == streams_of(store, new_key()) == []

    def test_the_open_streams_of_several_sessions(self, store: BaseSessionStore) -> None:
        sessions = [put(store) for _ in range(3)]
        opened = {
            put_stream(store, session, kind, "worker"): session.key
            for session in sessions
            for kind in ("get", "post", "call")
        }
        over = put_stream(store, sessions[0], "post", "worker")
        store.append([Append(over, messages("a"), ends=True, writer="worker")])
        put_stream(store)
        asked = [*(session.key for session in sessions), put(store).key, new_key()]
        found = streams_of(store, *asked, only_open=True)
        assert {stream.name: stream for stream in found} == store.find_streams(list(opened))
        assert {stream.name: stream.session_key for stream in found} == opened
        assert streams_of(store, only_open=True) == []

    def test_the_open_streams_of_many_sessions(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        session = stream_of(store, name).session_key
        (found,) = list(streams_of(store, *(new_key() for _ in range(700)), session, only_open=True))
        assert found.name == name

    def test_an_ended_session_has_its_running_calls_streams_open(self, store: BaseSessionStore) -> None:
        session = put(store)
        put_stream(store, session)
        reply = put_stream(store, session, "post", "worker")
        store.end(session.key, NOW, EndReason.DELETED)
        assert [stream.name for stream in streams_of(store, session.key, only_open=True)] == [reply]

    def test_a_stream_says_when_it_was_opened(self, store: BaseSessionStore) -> None:
        before = timezone.now() - CLOCKS_DIFFER
        first, second = (stream_of(store, put_stream(store)).created_at for _ in range(2))
        assert first is not None and second is not None
        assert before < first <= second < timezone.now() + CLOCKS_DIFFER

    def test_the_last_events_come_newest_first(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_stream(store, session) for _ in range(2)]
        before = timezone.now() - CLOCKS_DIFFER
        for text in "abcdef":
            store.append([Append(names[text > "c"], (("note", text),))])
        store.append([Append(put_stream(store, session), messages("elsewhere"))])
        found = store.last_events([*names, new_stream_name()], 4)
        assert [(each.stream, each.event) for each in found] == [
            (names[1], Event(3, "note", "f")),
            (names[1], Event(2, "note", "e")),
            (names[1], Event(1, "note", "d")),
            (names[0], Event(3, "note", "c")),
        ]
        instants = [each.at for each in found]
        assert instants == sorted(instants, reverse=True)
        assert all(before < at < timezone.now() + CLOCKS_DIFFER for at in instants)
        assert list(store.last_events([], 4)) == list(store.last_events([put_stream(store)], 4)) == []

    def test_the_last_events_of_one_batch_and_of_many_streams(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        store.append([Append(name, messages(*"abcde"))])
        streams = [*(new_stream_name() for _ in range(700)), name]
        assert [each.event.data for each in store.last_events(streams, 3)] == ["e", "d", "c"]

    def test_reading_a_page(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        store.append([Append(name, messages(*"abcde"))])
        assert texts_of(store, name, 0, 2) == ["a", "b"]
        assert texts_of(store, name, 2, 2) == ["c", "d"]
        assert texts_of(store, name, 5, 2) == []
        assert store.read(new_stream_name(), 0, 2) is None

    def test_a_page_has_no_more_characters_than_asked_for(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        store.append([Append(name, messages("a" * 10, "b" * 100, "c" * 1000, "d" * 50, "e" * 60), ends=True)])

        def page(after: int, limit: int, size: int) -> tuple[list[int], bool]:
            reading = store.read(name, after, limit, size)
            assert reading is not None and reading.end == 5
            assert all(len(set(event.data)) == 1 for event in reading.events)
            return [len(event.data) for event in reading.events], reading.is_cut

        assert page(0, 50, 110) == ([10, 100], True)
        assert page(0, 2, 110) == ([10, 100], False)
        assert page(0, 50, 109) == ([10], True)
        assert page(2, 50, 109) == ([1000], True)
        assert page(3, 50, 109) == ([50], True)
        assert page(3, 50, 110) == ([50, 60], False)
        assert page(0, 50, 1) == ([10], True)
        assert page(4, 50, 1) == ([60], False)
        assert page(5, 50, 1) == ([], False)
        assert page(0, 50, 10_000) == ([10, 100, 1000, 50, 60], False)

    def test_many_small_events_are_one_page(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        store.append([Append(name, messages(*map(str, range(100))))])
        reading = store.read(name, 10, 70, 10_000)
        assert reading is not None
        assert [event.data for event in reading.events] == [str(n) for n in range(10, 80)]
        assert not reading.is_cut

    def test_reading_says_where_the_stream_ended(self, store: BaseSessionStore) -> None:
        """With every page: the follower stops when it is there, and not before."""
        name, empty = put_stream(store), put_stream(store)
        store.append([Append(name, messages("a", "b"))])
        assert store.read(name, 0, 10) == Reading((Event(1, "message", "a"), Event(2, "message", "b")))
        store.append([Append(name, messages("c"), ends=True), Append(empty, (), ends=True)])
        assert store.read(name, 0, 1) == Reading((Event(1, "message", "a"),), end=3)
        assert store.read(name, 2, 1) == Reading((Event(3, "message", "c"),), end=3)
        assert store.read(name, 3, 1) == Reading((), end=3)
        assert store.read(empty, 0, 1) == Reading((), end=0)

    def test_the_text_of_an_event_is_kept(self, store: BaseSessionStore) -> None:
        data = ["", "NULL", "null", "ü 😀", "{a,b}", "'\"\\ %s %%", "\n", "x" * 100_000]
        name = put_stream(store)
        store.append([Append(name, messages(*data))])
        assert texts_of(store, name) == data
