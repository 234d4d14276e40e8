"""Deleting holds up nobody: it passes by what is locked, and a transaction of it stays short."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction
from django.utils import timezone

from mcp_sessions.models import Session
from mcp_sessions.records import Append, EndReason
from mcp_sessions.stores.database import DatabaseSessionStore, deletion
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, messages, put, put_stream
from mcp_sessions.testing.store_contract.observing import together


class DeletingContract:
    @pytest.mark.parametrize("verb", ["apurge", "aexpire"])
    def test_what_is_locked_is_left_to_the_next_time(
        self, store: DatabaseSessionStore, alias: str, verb: str
    ) -> None:
        if not connections[alias].features.has_select_for_update_skip_locked:
            pytest.skip("this database has no SKIP LOCKED")
        locked, free = [put(store, expires_at=NOW - HOUR) for _ in range(2)]
        if verb == "apurge":
            assert store.end(locked.key, NOW - HOUR, EndReason.DELETED)
            assert store.end(free.key, NOW, EndReason.DELETED)
        # In another thread: this one's transaction goes on meanwhile.
        with ThreadPoolExecutor(1) as executor, transaction.atomic(using=alias):
            Session.objects.using(alias).select_for_update().get(key=locked.key)
            done = executor.submit(together, getattr(store, verb)(NOW, 10)).result(timeout=60)
        left = Session.objects.using(alias).exclude(key=locked.key)
        if verb == "apurge":
            assert (done, list(left)) == ([1], [])
        else:
            assert [each.key for each in done[0]] == [free.key]

    def test_purge_deletes_the_oldest_first(self, store: DatabaseSessionStore, alias: str) -> None:
        sessions = [put(store) for _ in range(3)]
        for hours, session in zip((1, 3, 2), sessions, strict=True):
            store.end(session.key, NOW - hours * HOUR, EndReason.DELETED)
        assert store.purge(NOW, 2) == 2
        assert [row.key for row in Session.objects.using(alias).all()] == [sessions[0].key]

    def test_a_purge_is_bounded_by_events_too(
        self, store: DatabaseSessionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """But for a single session that has more of them."""
        monkeypatch.setattr(deletion, "MAX_EVENTS", 4)
        for number, events in enumerate([1, 1, 1, 9, 0]):
            session = put(store)
            for name in (put_stream(store, session), put_stream(store, session)):
                store.append([Append(name, messages(*"abcdefghi"[:events]))])
            store.end(session.key, NOW - (9 - number) * HOUR, EndReason.DELETED)
        assert [store.purge(NOW, 10) for _ in range(5)] == [2, 1, 1, 1, 0]

    def test_so_is_the_deletion_of_unreachable_streams(
        self, store: DatabaseSessionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deletion, "MAX_EVENTS", 4)
        session = put(store)
        for events in ("ab", "cd", "e", "fghijk"):
            name = put_stream(store, session, "post", "worker")
            store.append([Append(name, messages(*events), ends=True)])
        assert [store.delete_unreachable(timezone.now() + HOUR, 10) for _ in range(4)] == [2, 1, 1, 0]

    def test_what_is_kept_for_a_while_is_not_over(self, store: DatabaseSessionStore) -> None:
        for session in [put(store), put(store)]:
            store.end(session.key, NOW, EndReason.DELETED)
        assert store.count_over(NOW, NOW - HOUR, 9) == 0
