"""What purge deletes: sessions that have ended, with all that is theirs."""

from __future__ import annotations

from datetime import timedelta

from mcp_sessions.records import Append, EndReason, SessionRecord
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, messages, post, put, put_stream
from mcp_sessions.testing.store_contract.observing import inbox_of, texts_of, together


class PurgeContract:
    def test_purge_deletes_what_has_ended(self, store: BaseSessionStore) -> None:
        live, ended, another = put(store), put(store), put(store)
        streams = {session.key: put_stream(store, session) for session in (live, ended, another)}
        for session in (live, ended, another):
            store.append([Append(streams[session.key], messages("a"))])
            store.subscribe(session.key, "file:///a")
        for session in (ended, another):
            store.end(session.key, NOW, EndReason.DELETED)
        assert store.purge(NOW, 10) == 2
        assert store.load(another.digest) is store.load(ended.digest) is None
        assert store.load(live.digest) == live
        assert list(store.find_streams(list(streams.values()))) == [streams[live.key]]
        assert texts_of(store, streams[live.key]) == ["a"]
        for session in (ended, another):
            assert store.read(streams[session.key], 0, 10) is None
            assert store.append([Append(streams[session.key], messages("late"))]) == [()]
        assert [session.key for session in store.subscribers("file:///a", NOW)] == [live.key]
        assert store.purge(NOW, 10) == 0

    def test_purge_deletes_what_was_in_the_inboxes(self, store: BaseSessionStore) -> None:
        live, dead = put(store), put(store)
        for session in (live, dead):
            assert post(store, session.key, '"for it"')
        store.end(dead.key, NOW, EndReason.DELETED)
        assert store.purge(NOW, 10) == 1
        assert inbox_of(store, live) == [(1, '"for it"')]
        assert store.read(dead.key, 0, 10) is None

    def test_purge_leaves_what_ended_later_and_what_has_only_expired(self, store: BaseSessionStore) -> None:
        expired, ended = put(store, expires_at=NOW - HOUR), put(store)
        store.end(ended.key, NOW, EndReason.DELETED)
        assert store.purge(NOW - timedelta(microseconds=1), 10) == 0
        assert store.purge(NOW, 10) == 1
        assert store.load(expired.digest) == expired

    def test_purge_deletes_named_sessions_alone(self, store: BaseSessionStore) -> None:
        live, later = put(store), put(store)
        ended, other = put_ended(store), put_ended(store)
        store.end(later.key, NOW + HOUR, EndReason.DELETED)
        assert store.purge(NOW, 10, [live.key, later.key, ended.key, "nobody"]) == 1
        assert store.load(ended.digest) is None
        assert all(store.load(session.digest) for session in (live, later, other))
        assert store.purge(NOW, 10) == 1

    def test_purge_deletes_at_most_its_limit(self, store: BaseSessionStore) -> None:
        sessions = [put_ended(store) for _ in range(5)]
        assert [store.purge(NOW, 2) for _ in range(4)] == [2, 2, 1, 0]
        assert not any(store.load(session.digest) for session in sessions)

    def test_what_a_purge_would_do_is_counted_up_to_a_limit(self, store: BaseSessionStore) -> None:
        put(store)
        for _ in range(2):
            put_ended(store)
            put(store, expires_at=NOW)
        assert [store.count_over(NOW, NOW, limit) for limit in (9, 4, 3, 1)] == [4, 4, 3, 1]

    def test_purges_at_once_delete_each_session_once(self, store: BaseSessionStore) -> None:
        for _ in range(20):
            put_ended(store)
        deleted = sum(together(*(store.apurge(NOW, 5) for _ in range(4))))
        while more := store.purge(NOW, 5):
            deleted += more
        assert deleted == 20


def put_ended(store: BaseSessionStore) -> SessionRecord:
    session = put(store)
    put_stream(store, session)
    store.end(session.key, NOW, EndReason.DELETED)
    return session
