"""Verbs that wait for another one's commit: they see what it has changed."""

from __future__ import annotations

import itertools

import pytest
from django.db import connections
from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Append, Placed, Send
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.attachments import reader_of
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, apost, messages, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import stream_of, texts_of, together
from tests.stores.database.commits import Commits


def sweep_all(store: DatabaseSessionStore) -> int:
    return store.delete_unreachable(timezone.now() + HOUR, 10)


def send(store: DatabaseSessionStore, key: str) -> Placed:
    [[places]] = together(store.aappend([Send(key, "message", "a")]))
    return places


class StreamRaces(Commits):
    def test_a_stream_is_swept_while_its_client_comes_back(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)
        name = put_stream(store, session)
        [attachment] = self.behind(
            alias,
            lambda: sweep_all(store),
            lambda: together(store.aattach(session.key, name, "reader", 0, None)),
        )
        assert attachment is None
        assert store.find_streams([name]) == {}

    def test_a_client_comes_back_while_its_stream_is_swept(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)
        name = put_stream(store, session)
        [swept] = self.behind(
            alias,
            lambda: store.attach(session.key, name, "reader", 0, None),
            lambda: together(store.adelete_unreachable(timezone.now() + HOUR, 10)),
            # Where locked rows can be left out, it does not.
            waits=False,
        )
        assert swept == 0
        assert reader_of(store, name) == "reader"

    def test_an_event_for_a_session_whose_stream_is_swept(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """The session lives: the event waits for it, in another stream."""
        session = put(store)
        name = put_stream(store, session)
        places = self.behind(alias, lambda: sweep_all(store), lambda: send(store, session.key))
        assert len(places) == 1
        assert places[0][0] != name
        assert texts_of(store, put_read(store, session)) == ["a"]

    def test_an_event_for_a_session_whose_stream_ends(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        older, newer = put_read(store, session), put_read(store, session)
        places = self.behind(
            alias, lambda: store.append([Append(newer, (), ends=True)]), lambda: send(store, session.key)
        )
        assert places == ((older, 1),)
        assert texts_of(store, newer) == []

    def test_an_event_for_a_session_whose_client_leaves(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """It does not wait in the stream that was left while another one is read."""
        session = put(store)
        older, newer = put_read(store, session), put_read(store, session)
        places = self.behind(
            alias,
            lambda: store.mark_delivered("reader", {newer: 0}, leaving=True),
            lambda: send(store, session.key),
        )
        assert places == ((older, 1),)

    @pytest.mark.parametrize("how", ["left", "inherited"])
    def test_an_event_comes_behind_what_waited_in_a_stream_that_was_left(
        self, store: DatabaseSessionStore, alias: str, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        """Whoever left it, and between whichever two of its transactions the event is sent."""
        session = put(store)
        store.enlist("dead")
        older, newer = put_read(store, session, "alive"), put_read(store, session, "dead")
        store.append([Send(session.key, "message", text) for text in "12"])
        sent = itertools.count(3)
        commit = connections[alias].commit

        def commit_and_send() -> None:
            commit()
            together(store.aappend([Send(session.key, "message", f"{next(sent)}")]))

        with monkeypatch.context() as patched:
            patched.setattr(connections[alias], "commit", commit_and_send)
            if how == "left":
                store.mark_delivered("dead", {newer: 0}, leaving=True)
            else:
                store.take_over("dead", "alive", 10)
        assert texts_of(store, newer) == []
        texts = texts_of(store, older)
        assert texts == sorted(texts)
        assert len(texts) == next(sent) - 1

    def test_two_connections_for_one_stream(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        name = put_stream(store, session)
        [second] = self.behind(
            alias,
            lambda: store.attach(session.key, name, "first", 0, 1),
            lambda: together(store.aattach(session.key, name, "second", 0, 1)),
        )
        assert second is not None
        assert [(each.stream, each.reader) for each in second.displaced] == [(name, "first")]

    def test_a_mark_of_who_was_displaced_comes_late(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        name = put_read(store, session, "old")
        store.append([Append(name, messages("a"))])
        self.behind(
            alias,
            lambda: store.attach(session.key, name, "new", 0, None),
            lambda: together(store.amark_delivered("old", {name: 1}, leaving=True)),
        )
        assert (reader_of(store, name), stream_of(store, name).delivered) == ("new", 0)


class EndingRaces(Commits):
    def test_what_comes_while_a_session_ends(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        posted = self.behind(
            alias,
            lambda: store.end(session.key, NOW, "deleted"),
            lambda: together(apost(store, session.key, "1")),
        )
        assert posted == [False]

    def test_a_stream_is_opened_while_a_session_expires(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store, expires_at=NOW)
        with pytest.raises(SessionEnded):
            self.behind(
                alias,
                lambda: store.expire(NOW, 10),
                lambda: together(store.aopen_stream(session.key, new_stream_name(), "get")),
            )

    def test_a_client_comes_while_its_session_expires(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store, expires_at=NOW)
        name = put_stream(store, session)
        with pytest.raises(SessionEnded):
            self.behind(
                alias,
                lambda: store.expire(NOW, 10),
                lambda: together(store.aattach(session.key, name, "reader", 0, None)),
            )

    def test_an_event_comes_while_its_session_expires(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store, expires_at=NOW)
        put_stream(store, session)
        assert self.behind(alias, lambda: store.expire(NOW, 10), lambda: send(store, session.key)) == ()


class InheritanceRaces(Commits):
    def test_a_second_heir_leaves_the_rest_to_be_inherited(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """It wanted what the first one took: the lost worker still has something, and is not forgotten."""
        lost = "lost"
        store.enlist(lost)
        session = put(store)
        names = [put_stream(store, session, "post", lost) for _ in range(6)]
        store.leave(lost)
        [inherited] = self.behind(
            alias,
            lambda: store.take_over(lost, "first", 2),
            lambda: together(store.atake_over(lost, "second", 2)),
        )
        writers = [stream.writer for stream in store.find_streams(names).values()]
        assert (writers.count("first"), writers.count("second")) == (2, inherited.written)
        assert store.find_lost(1000) == [lost]

    def test_the_lost_worker_answers_while_it_is_inherited_from(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        name = put_stream(store, put(store), "post", "lost")
        placed = self.behind(
            alias,
            lambda: store.take_over("lost", "heir", 10),
            lambda: together(store.aappend([Append(name, messages("late"), ends=True, writer="lost")])),
        )
        assert placed == [[()]]
        assert stream_of(store, name).writer == "heir"

    def test_it_is_inherited_from_while_it_answers(self, store: DatabaseSessionStore, alias: str) -> None:
        name = put_stream(store, put(store), "post", "lost")
        [inherited] = self.behind(
            alias,
            lambda: store.append([Append(name, messages("just in time"), ends=True, writer="lost")]),
            lambda: together(store.atake_over("lost", "heir", 10)),
        )
        assert inherited.written == 0
        assert stream_of(store, name).writer == ""
        assert texts_of(store, name) == ["just in time"]


class RaceContract(StreamRaces, EndingRaces, InheritanceRaces):
    """All of them."""
