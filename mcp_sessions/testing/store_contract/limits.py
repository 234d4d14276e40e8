"""Limits: how many sessions may live at once, and which of them make room."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mcp_sessions.exceptions import DuplicateIdentifier, LimitReached
from mcp_sessions.records import Append, EndReason, Limits, SessionRecord, StreamKind, Touch
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import (
    HOUR,
    NOW,
    make_session,
    messages,
    put,
    put_read,
    put_stream,
)
from mcp_sessions.testing.store_contract.observing import has_ended, reload, stream_of, together

SECOND = timedelta(seconds=1)


def count(store: BaseSessionStore, server: str = "/mcp") -> int:
    return store.statistics(NOW, server).live


def used(store: BaseSessionStore, session: SessionRecord, after: timedelta) -> SessionRecord:
    """The session, which had a request."""
    store.touch([Touch(session.key, NOW + after, NOW + HOUR, NOW + HOUR, requests=1)])
    return reload(store, session)


class LimitContract:
    def test_the_live_sessions_of_a_principal_are_found(self, store: BaseSessionStore) -> None:
        mine = [make_session(principal="a" * 32) for _ in range(3)]
        expired = make_session(principal="a" * 32, expires_at=NOW)
        ended = make_session(principal="a" * 32)
        others = make_session(principal="b" * 32), make_session(principal="a" * 32, server="/other")
        for session in (*mine, expired, ended, *others):
            store.create(session)
        store.end(ended.key, NOW, EndReason.DELETED)
        assert set(store.keys_of("/mcp", "a" * 32, NOW, 10)) == {session.key for session in mine}
        assert len(store.keys_of("/mcp", "a" * 32, NOW, 2)) == 2
        assert list(store.keys_of("/nowhere", "a" * 32, NOW, 10)) == []

    def test_past_a_limit_a_session_is_refused(self, store: BaseSessionStore) -> None:
        limits = Limits(per_principal=2)
        for _ in range(2):
            assert list(store.create(make_session(), limits)) == []
        refused = make_session()
        with pytest.raises(LimitReached) as raised:
            store.create(refused, limits)
        assert (raised.value.limit, raised.value.in_all) == (2, False)
        assert store.load(refused.digest) is None
        assert count(store) == 2

    def test_everybody_has_a_limit_of_ones_own(self, store: BaseSessionStore) -> None:
        limits = Limits(per_principal=1)
        store.create(make_session(principal="a" * 32), limits)
        store.create(make_session(principal="b" * 32), limits)
        with pytest.raises(LimitReached):
            store.create(make_session(principal="a" * 32), limits)

    def test_every_server_has_a_limit_of_its_own(self, store: BaseSessionStore) -> None:
        limits = Limits(per_principal=1, in_all=1)
        store.create(make_session(server="/one"), limits)
        store.create(make_session(server="/two"), limits)
        with pytest.raises(LimitReached):
            store.create(make_session(server="/one"), limits)

    def test_past_the_limit_of_all_a_session_is_refused(self, store: BaseSessionStore) -> None:
        limits = Limits(in_all=2)
        store.create(make_session(principal="a" * 32), limits)
        store.create(make_session(principal="b" * 32), limits)
        with pytest.raises(LimitReached) as raised:
            store.create(make_session(principal="c" * 32), limits)
        assert (raised.value.limit, raised.value.in_all) == (2, True)

    def test_only_what_lives_counts(self, store: BaseSessionStore) -> None:
        put(store, expires_at=NOW)
        store.end(put(store).key, NOW, EndReason.DELETED)
        store.create(make_session(), Limits(per_principal=1, in_all=1))

    def test_a_taken_identifier_replaces_nobody(self, store: BaseSessionStore) -> None:
        first = put(store)
        with pytest.raises(DuplicateIdentifier):
            store.create(make_session(digest=first.digest), Limits(per_principal=1, replaces=True))
        assert reload(store, first) == first

    def test_the_least_recently_used_makes_room(self, store: BaseSessionStore) -> None:
        old, older = (used(store, put(store), SECOND * n) for n in (2, 1))
        new = make_session()
        assert list(store.create(new, Limits(per_principal=2, replaces=True))) == [older]
        found = reload(store, older)
        assert (found.ended_at, found.end_reason) == (NOW, EndReason.REPLACED)
        assert reload(store, old) == old
        assert reload(store, new) == new

    def test_what_was_never_used_goes_before_what_was(self, store: BaseSessionStore) -> None:
        used(store, put(store), timedelta(0))
        unused = put(store, last_accessed_at=NOW + SECOND)
        assert list(store.create(make_session(), Limits(per_principal=2, replaces=True))) == [unused]

    @pytest.mark.parametrize("kind", ["get", "post", "call"])
    def test_what_is_open_or_running_goes_last(self, store: BaseSessionStore, kind: StreamKind) -> None:
        busy, other = put(store), used(store, put(store), SECOND)
        if kind == "get":
            put_read(store, busy)
        else:
            put_stream(store, busy, kind, "worker")
        put_stream(store, other)
        limits = Limits(per_principal=2, replaces=True)
        second = make_session(created_at=NOW + SECOND, last_accessed_at=NOW + SECOND)
        assert list(store.create(second, limits)) == [other]
        assert list(store.create(make_session(), limits)) == [second]

    def test_who_has_only_one_session_loses_it_with_its_streams(self, store: BaseSessionStore) -> None:
        first = put(store)
        stream = put_read(store, first)
        assert list(store.create(make_session(), Limits(per_principal=1, replaces=True))) == [first]
        assert stream_of(store, stream).ended_at == NOW
        assert store.append([Append(stream, messages("late"))]) == [()]
        assert has_ended(store, first.key)

    def test_a_lowered_limit_is_reached_at_once(self, store: BaseSessionStore) -> None:
        sessions = [used(store, put(store), SECOND * n) for n in range(5)]
        replaced = store.create(make_session(), Limits(per_principal=3, replaces=True))
        assert list(replaced) == sessions[:3]
        assert count(store) == 3

    def test_whoever_is_replaced_for_the_principal_makes_room_for_all(self, store: BaseSessionStore) -> None:
        stranger = put(store, principal="b" * 32)
        mine = used(store, put(store), SECOND)
        assert list(store.create(make_session(), Limits(1, 2, replaces=True))) == [mine]
        assert reload(store, stranger) == stranger

    def test_a_newcomer_replaces_the_least_needed_of_all(self, store: BaseSessionStore) -> None:
        stranger = put(store, principal="b" * 32)
        mine = used(store, put(store), SECOND)
        assert list(store.create(make_session(), Limits(in_all=2, replaces=True))) == [stranger]
        assert reload(store, mine) == mine

    @pytest.mark.parametrize("replaces", [True, False])
    def test_many_at_once_never_pass_the_limits(self, store: BaseSessionStore, replaces: bool) -> None:
        async def create(principal: str) -> int:
            try:
                return -len(await store.acreate(make_session(principal=principal), limits)) + 1
            except LimitReached:
                return 0

        limits = Limits(per_principal=5, in_all=8, replaces=replaces)
        gained = together(*(create(character * 32) for _ in range(25) for character in "abc"))
        assert sum(gained) == count(store) == 8
