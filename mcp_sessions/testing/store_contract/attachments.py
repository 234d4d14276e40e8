"""Who reads a stream: attach, and the connections that have to make room."""

from __future__ import annotations

from typing import Literal

import pytest

from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.identifiers import new_key, new_stream_name
from mcp_sessions.records import Append, Attachment, Displaced, EndReason, Send, SessionRecord, StreamRecord
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import NOW, messages, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import stream_of, texts_of, together


def attach(
    store: BaseSessionStore,
    session: SessionRecord,
    name: str,
    worker: str = "reader",
    seen: int = 0,
    limit: int | None = None,
) -> Attachment:
    attachment = store.attach(session.key, name, worker, seen, limit)
    assert attachment is not None
    return attachment


def reader_of(store: BaseSessionStore, name: str) -> str:
    return stream_of(store, name).reader


def displaced(stream: StreamRecord, why: Literal["replaced", "limit"]) -> Displaced:
    """The connection that the stream had."""
    return Displaced(stream.name, stream.reader, stream.attached_at, why)


class AttachmentContract:
    def test_a_stream_is_read_from_a_position_on(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_stream(store, session)
        store.append([Append(name, messages("a", "b", "c"))])
        attachment = attach(store, session, name, seen=2)
        assert attachment.displaced == ()
        assert attachment.stream == stream_of(store, name)
        assert (attachment.stream.reader, attachment.stream.delivered) == ("reader", 2)
        assert attachment.stream.position == 3
        assert texts_of(store, name) == ["a", "b", "c"]

    def test_each_connection_has_its_instant(self, store: BaseSessionStore) -> None:
        """By which a worker tells the one that was displaced from one that came later."""
        session = put(store)
        name = put_stream(store, session)
        first = attach(store, session, name).stream.attached_at
        again = attach(store, session, name).stream.attached_at
        assert first is not None
        assert again is not None
        assert first < again
        assert stream_of(store, name).attached_at == again

    def test_what_was_delivered_is_not_taken_back(self, store: BaseSessionStore) -> None:
        """A client that asks for more than it must: it gets it, and nothing waits again."""
        session = put(store)
        name = put_read(store, session)
        store.append([Append(name, messages("a", "b", "c"))])
        store.mark_delivered("reader", {name: 3})
        assert attach(store, session, name, seen=1).stream.delivered == 3

    @pytest.mark.parametrize("seen", [4, 2**40])
    def test_a_position_beyond_the_stream_is_refused(self, store: BaseSessionStore, seen: int) -> None:
        session = put(store)
        name = put_stream(store, session)
        store.append([Append(name, messages("a", "b", "c"))])
        assert store.attach(session.key, name, "reader", seen, 1) is None
        assert reader_of(store, name) == ""
        assert attach(store, session, name, seen=3).stream.delivered == 3

    def test_what_is_no_stream_of_the_session_is_refused(self, store: BaseSessionStore) -> None:
        """Another session's, a call, a name that nothing has: nobody is displaced for them."""
        session = put(store)
        foreign, call, mine = (
            put_stream(store),
            put_stream(store, session, "call", "w"),
            put_read(store, session),
        )
        before = store.find_streams([foreign, call, mine])
        for name in (foreign, call, new_stream_name()):
            assert store.attach(session.key, name, "other", 0, 1) is None
        assert store.find_streams([foreign, call, mine]) == before

    def test_a_new_stream_is_opened_and_read_in_one_step(self, store: BaseSessionStore) -> None:
        session, name = put(store), new_stream_name()
        attachment = store.attach(session.key, name, "reader", 0, None, is_new=True)
        assert attachment is not None
        opened = attachment.stream
        assert opened == stream_of(store, name)
        assert (opened.session_key, opened.kind) == (session.key, "get")
        assert (opened.reader, opened.writer, opened.ended_at) == ("reader", "", None)
        assert (opened.position, opened.delivered) == (0, 0)
        assert opened.created_at is not None
        assert store.append([Send(session.key, "message", "a")]) == [((name, 1),)]

    def test_a_new_stream_needs_a_name_of_its_own(self, store: BaseSessionStore) -> None:
        session = put(store)
        for taken in (put_stream(store), put_read(store, session), put_stream(store, session, "post", "w")):
            before = stream_of(store, taken)
            with pytest.raises(DuplicateIdentifier):
                store.attach(session.key, taken, "other", 0, 1, is_new=True)
            assert stream_of(store, taken) == before

    def test_a_session_that_is_over_gets_no_new_stream(self, store: BaseSessionStore) -> None:
        session, name = put(store), new_stream_name()
        store.end(session.key, NOW, EndReason.DELETED)
        for key in (session.key, new_key()):
            with pytest.raises(SessionEnded):
                store.attach(key, name, "reader", 0, None, is_new=True)
        assert store.find_streams([name]) == {}

    def test_new_streams_count_at_the_limit(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [new_stream_name() for _ in range(12)]
        together(*(store.aattach(session.key, name, name, 0, 3, is_new=True) for name in names))
        assert len([name for name in names if reader_of(store, name)]) == 3

    def test_a_session_that_is_over_has_no_streams(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_stream(store, session)
        store.end(session.key, NOW, EndReason.DELETED)
        for key in (session.key, new_key()):
            with pytest.raises(SessionEnded):
                store.attach(key, name, "reader", 0, None)
        assert reader_of(store, name) == ""

    def test_an_earlier_connection_is_replaced(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_stream(store, session)
        first = attach(store, session, name, "first").stream
        assert attach(store, session, name, "second").displaced == (displaced(first, "replaced"),)
        assert reader_of(store, name) == "second"

    def test_a_client_comes_back_for_a_reply(self, store: BaseSessionStore) -> None:
        """The worker that runs the call goes on writing; another one reads, also after the end."""
        session = put(store)
        name = put_stream(store, session, "post", "writer")
        attachment = attach(store, session, name, "other", limit=1)
        assert attachment.displaced == (Displaced(name, "writer", None, "replaced"),)
        assert attachment.stream.writer == "writer"
        [places] = store.append([Append(name, messages("answer"), ends=True, writer="writer")])
        assert places == ((name, 1),)
        other = attachment.stream
        attachment = attach(store, session, name, "third", seen=1)
        assert attachment.displaced == (displaced(other, "replaced"),)
        assert attachment.stream.ended_at is not None

    def test_past_the_limit_the_first_attached_go(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_stream(store, session) for _ in range(4)]
        for n, name in enumerate(names[:3]):
            assert attach(store, session, name, f"w{n}", limit=3).displaced == ()
        # The first comes back, and is the newest from now on.
        attach(store, session, names[0], "w0", limit=3)
        before = store.find_streams(names)
        attachment = attach(store, session, names[3], "w3", limit=2)
        assert set(attachment.displaced) == {displaced(before[name], "limit") for name in names[1:3]}
        assert [reader_of(store, name) for name in names] == ["w0", "", "", "w3"]

    def test_what_the_limit_does_not_count(self, store: BaseSessionStore) -> None:
        """Replies, other sessions' streams, streams that were left, and those that have ended."""
        session, other = put(store), put(store)
        reply, foreign = put_stream(store, session, "post", "w"), put_read(store, other)
        left, ended = put_read(store, session), put_read(store, session)
        store.mark_delivered("reader", {left: 0}, leaving=True)
        store.append([Append(ended, (), ends=True)])
        assert attach(store, session, put_stream(store, session), limit=1).displaced == ()
        assert (reader_of(store, reply), reader_of(store, foreign)) == ("w", "reader")

    def test_a_reply_displaces_no_get_stream(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_read(store, session) for _ in range(2)]
        reply = put_stream(store, session, "post", "w")
        assert attach(store, session, reply, "w", limit=1).displaced == ()
        assert [reader_of(store, name) for name in names] == ["reader", "reader"]

    def test_replaced_and_past_the_limit(self, store: BaseSessionStore) -> None:
        session = put(store)
        older, newer = put_read(store, session, "w1"), put_read(store, session, "w2")
        before = store.find_streams([older, newer])
        assert set(attach(store, session, newer, "w3", limit=1).displaced) == {
            displaced(before[newer], "replaced"),
            displaced(before[older], "limit"),
        }

    def test_whoever_comes_at_once_the_limit_holds(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_stream(store, session) for _ in range(12)]
        attached = together(*(store.aattach(session.key, name, name, 0, 3) for name in names))
        displaced = [each.stream for attachment in attached if attachment for each in attachment.displaced]
        read = [name for name in names if reader_of(store, name)]
        assert len(read) == 3
        assert sorted(displaced + read) == sorted(names)
