"""The contract, and what every store promises besides that keeps one plain state."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mcp_sessions.exceptions import (
    DuplicateIdentifier,
    InvalidSessionData,
    LimitReached,
    SessionEnded,
)
from mcp_sessions.identifiers import new_key, new_stream_name
from mcp_sessions.records import Append, EndReason, Limits, Send, SessionRecord
from mcp_sessions.stores.memory import State, StateSessionStore
from mcp_sessions.testing.store_contract import StoreContract
from mcp_sessions.testing.store_contract.attachments import attach
from mcp_sessions.testing.store_contract.builders import (
    HOUR,
    NOW,
    make_session,
    messages,
    post,
    put,
    put_read,
    put_stream,
)
from mcp_sessions.testing.store_contract.observing import reload, texts_of

Refused = Callable[[StateSessionStore, SessionRecord, SessionRecord], object]
REFUSED: dict[str, tuple[type[Exception], Refused]] = {
    "a taken digest": (
        DuplicateIdentifier,
        lambda store, live, _: store.create(make_session(digest=live.digest), Limits(1, 1, replaces=True)),
    ),
    "a session too many": (LimitReached, lambda store, *_: store.create(make_session(), Limits(in_all=1))),
    "metadata that is no JSON": (
        TypeError,
        lambda store, live, _: store.save_metadata(live.key, {"a": 1, "b": object()}),
    ),
    "data that cannot be kept": (
        InvalidSessionData,
        lambda store, *_: store.create(make_session(data={"a": float("nan")})),
    ),
    "a taken name": (
        DuplicateIdentifier,
        lambda store, live, _: store.open_stream(live.key, "taken", "get"),
    ),
    "a stream of an ended session": (
        SessionEnded,
        lambda store, _, ended: store.open_stream(ended.key, new_stream_name(), "get"),
    ),
    "a reader of an ended session": (
        SessionEnded,
        lambda store, _, ended: store.attach(ended.key, "ended", "reader", 0, None),
    ),
    "an edit of an ended session": (
        SessionEnded,
        lambda store, _, ended: store.lease(ended.key, "mine", NOW, NOW + HOUR),
    ),
    "a batch that was stored": (
        DuplicateIdentifier,
        lambda store, live, _: store.append(
            [Append("taken", messages("a")), Send(live.key, "message", "b")], "token"
        ),
    ),
}


def state_of(store: StateSessionStore) -> State:
    with store.transaction() as state:
        return copy.deepcopy(state)


def spoil(store: StateSessionStore, session: SessionRecord, column: str, text: str) -> None:
    with store.transaction() as state:
        setattr(state.sessions[session.key], column, text)


class StateContract(StoreContract):
    @pytest.fixture
    def make_late(self, store: StateSessionStore) -> Callable[[str, float], None]:
        """Set a worker's last beat back by so many seconds."""

        def set_back(worker: str, seconds: float) -> None:
            with store.transaction() as state:
                state.workers[worker].heartbeat_at -= timedelta(seconds=seconds)

        return set_back

    def test_nobody_changes_what_is_stored_by_what_was_given(self, store: StateSessionStore) -> None:
        values: dict[str, Any] = {"metadata": {"client": {"name": "a"}}, "data": {"basket": ["tea"]}}
        session = make_session(**copy.deepcopy(values))
        store.create(session)
        found, leased = reload(store, session), store.lease(session.key, "mine", NOW, NOW + HOUR)
        assert leased is not None
        for given in (session, found):
            given.metadata["client"]["name"] = given.data["basket"][0] = "changed"
        leased["basket"].append("milk")
        assert reload(store, session) == replace(session, **values)
        store.release(session.key, "mine", leased)
        leased["basket"].append("bread")
        assert reload(store, session).data == {"basket": ["tea", "milk"]}

    @pytest.mark.parametrize("refused", REFUSED)
    def test_what_is_refused_changes_nothing(self, store: StateSessionStore, refused: str) -> None:
        live, ended = put(store), put(store)
        store.open_stream(live.key, "taken", "get")
        store.open_stream(ended.key, "ended", "get")
        store.append([Append("taken", messages("a"))], "token")
        store.end(ended.key, NOW, EndReason.DELETED)
        before = state_of(store)
        error, verb = REFUSED[refused]
        with pytest.raises(error):
            verb(store, live, ended)
        assert state_of(store) == before

    @pytest.mark.parametrize(
        ("column", "text"),
        [("data", "{"), ("data", "[1]"), ("metadata", ""), ("metadata", "null"), ("metadata", '["a"]')],
    )
    def test_what_cannot_be_read_is_absent_and_stays(
        self, store: StateSessionStore, caplog: pytest.LogCaptureFixture, column: str, text: str
    ) -> None:
        session, other = put(store), put(store)
        store.subscribe(session.key, "file:///a")
        spoil(store, session, column, text)
        with caplog.at_level(logging.ERROR, "mcp_sessions.stores"):
            assert store.load(session.digest) is store.load_by_key(session.key) is None
            assert [session.key in line for line in caplog.messages] == [True, True]
            assert store.live_sessions("/mcp", NOW, "", 1) == [other]
            assert list(store.subscribers("file:///a", NOW)) == []
            store.append([Send(session.key, "message", "a")])
        with store.transaction() as state:
            assert getattr(state.sessions[session.key], column) == text
        assert store.end(session.key, NOW, EndReason.DELETED)
        assert store.purge(NOW, 10) == 1

    def test_unreadable_data_is_not_edited(self, store: StateSessionStore) -> None:
        session = put(store)
        spoil(store, session, "data", "{")
        before = state_of(store)
        with pytest.raises(SessionEnded):
            store.lease(session.key, "mine", NOW, NOW + HOUR)
        assert state_of(store) == before

    def test_unreadable_metadata_is_not_overwritten(
        self, store: StateSessionStore, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not by merging, nor by counting; what else there is of the session goes on."""
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "MAX_PENDING": 1}
        session = put(store)
        left, kept = put_read(store, session, "dead"), put_read(store, session, "me")
        spoil(store, session, "metadata", "{")
        with caplog.at_level(logging.ERROR, "mcp_sessions.stores"):
            assert store.save_metadata(session.key, {"late": True}) is False
        assert session.key in caplog.text
        store.append([Append(left, messages("a"))])
        store.enlist("dead")
        store.take_over("dead", "me", 10)
        assert texts_of(store, kept) == ["a"]
        store.mark_delivered("me", {kept: 0}, leaving=True)
        store.append([Send(session.key, "message", "b")])
        assert texts_of(store, kept) == ["b"]
        with store.transaction() as state:
            assert state.sessions[session.key].metadata == "{"

    def test_whatever_the_clock_says_each_connection_is_the_newest(self, store: StateSessionStore) -> None:
        session = put(store)
        first, second = put_stream(store, session), put_read(store, session)
        with store.transaction() as state:
            ahead = state.last_attached_at = state.last_attached_at + HOUR
            state.streams[second].attached_at = ahead
        attached_at = attach(store, session, first).stream.attached_at
        assert attached_at is not None
        assert attached_at > ahead
        assert store.append([Send(session.key, "message", "a")]) == [((first, 1),)]

    def test_what_is_deleted_leaves_nothing(self, store: StateSessionStore) -> None:
        before = state_of(store)
        session = put(store)
        put_read(store, session), put_stream(store, session, "post", "w")
        store.subscribe(session.key, "file:///a")
        post(store, session.key, "1")
        store.append([Send(session.key, "message", "a")])
        store.end(session.key, NOW, EndReason.DELETED)
        assert store.purge(NOW, 10) == 1
        after = state_of(store)
        for name in ("sessions", "keys", "streams", "subscribers", "groups", "workers"):
            assert getattr(after, name) == getattr(before, name) == {}
        assert post(store, new_key(), "1") is False
