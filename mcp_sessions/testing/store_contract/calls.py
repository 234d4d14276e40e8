"""Answers that go to a GET stream in exchange for the row of their call."""

from __future__ import annotations

from django.utils import timezone

from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Append, EndReason, Send
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import stream_of, texts_of, together


def answer(session_key: str, call: str, worker: str = "mine", only_now: bool = False) -> Send:
    return Send(
        session_key, "message", "answer", only_now=only_now, call=Append(call, (), ends=True, writer=worker)
    )


class CallContract:
    def test_the_answer_goes_out_with_the_end_of_the_call(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        call = put_stream(store, session, "call", "mine", (7,))
        [places] = store.append([answer(session.key, call)])
        assert (name, 1) in places
        assert texts_of(store, name) == ["answer"]
        ended = stream_of(store, call)
        assert ended.ended_at is not None
        assert (ended.position, ended.writer) == (0, "")

    def test_a_call_is_answered_once(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        call = put_stream(store, session, "call", "mine")
        first, again = store.append([answer(session.key, call), answer(session.key, call)])
        assert (name, 1) in first
        assert again == ()
        assert store.append([answer(session.key, call)]) == [()]
        assert texts_of(store, name) == ["answer"]

    def test_of_many_who_answer_one_does(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        call = put_stream(store, session, "call", "mine")
        placed = together(*(store.aappend([answer(session.key, call)]) for _ in range(8)))
        assert sorted(bool(places) for [places] in placed) == [False] * 7 + [True]
        assert texts_of(store, name) == ["answer"]

    def test_who_lost_the_call_answers_nothing(self, store: BaseSessionStore) -> None:
        """Neither another worker nor anybody for a call that is not there; nothing of it is stored."""
        session = put(store)
        name = put_read(store, session)
        call = put_stream(store, session, "call", "mine")
        refused = [answer(session.key, call, "yours"), answer(session.key, new_stream_name())]
        assert store.append(refused) == [(), ()]
        assert texts_of(store, name) == []
        assert stream_of(store, call).ended_at is None

    def test_a_refused_answer_opens_no_stream(self, store: BaseSessionStore) -> None:
        session = put(store)
        call = put_stream(store, session, "call", "mine")
        assert store.append([answer(session.key, call, "yours")]) == [()]
        assert store.delete_unreachable(timezone.now() + HOUR, 10) == 0

    def test_the_answer_waits_where_nothing_is_read(self, store: BaseSessionStore) -> None:
        session = put(store)
        calls = [put_stream(store, session, "call", "mine") for _ in range(2)]
        assert all(store.append([answer(session.key, call) for call in calls]))
        assert texts_of(store, put_read(store, session)) == ["answer", "answer"]

    def test_the_call_ends_even_if_its_answer_goes_nowhere(self, store: BaseSessionStore) -> None:
        session = put(store)
        call = put_stream(store, session, "call", "mine")
        store.append([answer(session.key, call, only_now=True)])
        assert stream_of(store, call).ended_at is not None
        assert texts_of(store, put_read(store, session)) == []

    def test_the_end_of_a_session_ends_its_calls(self, store: BaseSessionStore) -> None:
        session = put(store)
        name, call = put_read(store, session), put_stream(store, session, "call", "mine")
        store.end(session.key, NOW, EndReason.DELETED)
        assert store.append([answer(session.key, call)]) == [()]
        assert stream_of(store, call).ended_at == NOW
        assert texts_of(store, name) == []
