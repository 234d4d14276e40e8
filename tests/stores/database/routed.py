"""The store's alias holds whatever the project's routers say of its models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.db import router
from django.utils import timezone

from mcp_sessions.records import Append, EndReason, Send
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, messages, post, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import firsts, texts_of


class Elsewhere:
    """A router that sends every model to a database that is not there, and allows no relation."""

    def db_for_read(self, *_: Any, **__: Any) -> str:
        return "nowhere"

    def db_for_write(self, *_: Any, **__: Any) -> str:
        return "nowhere"

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return False


class RoutedContract:
    @pytest.fixture
    def routed(self) -> Iterator[None]:
        with mock.patch.object(router, "routers", [Elsewhere()], create=True):
            yield

    @pytest.mark.usefixtures("routed")
    def test_the_stores_alias_holds_whatever_a_router_says(self, store: DatabaseSessionStore) -> None:
        session = put(store)
        # A message for which a stream has to be opened.
        assert firsts(store.append([Send(session.key, "message", "a")])) == [1]
        stream = put_read(store, session)
        assert texts_of(store, stream) == ["a"]
        assert post(store, session.key, "1")
        store.subscribe(session.key, "file:///a")
        assert [each.key for each in store.subscribers("file:///a", NOW)] == [session.key]
        assert store.lease(session.key, "mine", NOW, NOW + HOUR) == {}
        assert store.release(session.key, "mine", {"a": 1})
        reply = put_stream(store, session, "post", "lost")
        store.enlist("lost")
        assert store.append([Append(reply, messages("b"), writer="lost")]) == [((reply, 1),)]
        store.leave("lost")
        assert store.take_over("lost", "heir", 10).written == 1
        store.mark_delivered("reader", {stream: 1}, leaving=True)
        store.end(session.key, NOW, EndReason.DELETED)
        store.delete_unreachable(timezone.now() + HOUR, 10)
        assert store.purge(timezone.now() + HOUR, 10) == 1
