"""Who wants to know of changes to a resource."""

from __future__ import annotations

import pytest

from mcp_sessions.identifiers import new_key
from mcp_sessions.records import EndReason
from mcp_sessions.stores.base import BaseSessionStore
from tests.stores.contract.builders import NOW, put
from tests.stores.contract.observing import together


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

    @pytest.mark.parametrize("uri", ["", "a\x00b", "\ud800", "ü 😀", "x" * 5000])
    def test_any_text_may_be_a_uri(self, store: BaseSessionStore, uri: str) -> None:
        session = put(store)
        store.subscribe(session.key, uri)
        assert store.subscribers(uri, NOW) == [session]
        assert list(store.subscribers(uri + "\ufffd", NOW)) == []
        store.unsubscribe(session.key, uri)
        assert list(store.subscribers(uri, NOW)) == []
