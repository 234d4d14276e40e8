"""Who wants to know of changes to a resource."""

from __future__ import annotations

import pytest

from mcp_sessions.identifiers import new_key
from mcp_sessions.records import EndReason
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import NOW, put
from mcp_sessions.testing.store_contract.observing import together


class SubscriptionContract:
    def test_live_subscribers_are_found(self, store: BaseSessionStore) -> None:
        here, there, expired, ended = put(store), put(store), put(store, expires_at=NOW), put(store)
        for session in (here, there, expired, ended):
            store.subscribe(session.key, "file:///a")
        store.subscribe(here.key, "file:///b")
        store.end(ended.key, NOW, EndReason.DELETED)
        assert {session.key for session in store.subscribers("file:///a", NOW)} == {here.key, there.key}
        assert store.subscribers("file:///b", NOW) == [here]
        assert list(store.subscribers("file:///A", NOW)) == []

    def test_subscribing_twice_is_once(self, store: BaseSessionStore) -> None:
        session = put(store)
        together(*(store.asubscribe(session.key, "file:///a") for _ in range(4)))
        assert store.subscribers("file:///a", NOW) == [session]
        store.unsubscribe(session.key, "file:///a")
        assert list(store.subscribers("file:///a", NOW)) == []

    def test_unsubscribing_from_nothing(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        store.subscribe(other.key, "file:///a")
        store.unsubscribe(session.key, "file:///a")
        store.unsubscribe(new_key(), "file:///a")
        assert store.subscribers("file:///a", NOW) == [other]

    def test_a_session_has_so_many(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        tries = (store.asubscribe(session.key, f"file:///{n}", 3) for n in range(8))
        kept = together(*tries)
        assert sorted(kept) == [False] * 5 + [True] * 3
        subscribed = [n for n in range(8) if store.subscribers(f"file:///{n}", NOW)]
        assert subscribed == [n for n, is_kept in enumerate(kept) if is_kept]
        # One that is there is no further one, nor is another session's, nor the one after another has gone.
        assert store.subscribe(session.key, f"file:///{subscribed[0]}", 3)
        assert store.subscribe(other.key, "file:///0", 3)
        store.unsubscribe(session.key, f"file:///{subscribed[0]}")
        assert store.subscribe(session.key, "file:///new", 3)
        assert not store.subscribe(session.key, "file:///newer", 3)
        assert store.subscribe(session.key, "file:///newer")

    @pytest.mark.parametrize("uri", ["", "a\x00b", "\ud800", "ü 😀", "x" * 5000])
    def test_any_text_may_be_a_uri(self, store: BaseSessionStore, uri: str) -> None:
        session = put(store)
        store.subscribe(session.key, uri)
        assert store.subscribers(uri, NOW) == [session]
        assert list(store.subscribers(uri + "\ufffd", NOW)) == []
        store.unsubscribe(session.key, uri)
        assert list(store.subscribers(uri, NOW)) == []
