"""Sessions whose time has run out: ended once, and warned once before."""

from __future__ import annotations

from datetime import timedelta

from mcp_sessions.identifiers import new_key
from mcp_sessions.records import Append, EndReason, SessionRecord, Touch
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, messages, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import has_ended, reload, stream_of, together


def by_key(sessions: list[SessionRecord]) -> list[SessionRecord]:
    return sorted(sessions, key=lambda session: session.key)


class ExpiryContract:
    def test_expired_sessions_are_ended_and_returned(self, store: BaseSessionStore) -> None:
        timed_out = put(store, expires_at=NOW)
        idle = put(store, expires_at=NOW - HOUR, timeout_at=NOW + HOUR)
        live, ended = put(store, expires_at=NOW + timedelta(microseconds=1)), put(store, expires_at=NOW)
        store.end(ended.key, NOW - HOUR, EndReason.DELETED)
        assert by_key([*store.expire(NOW, 10)]) == by_key([timed_out, idle])
        for session, reason in ((timed_out, EndReason.EXPIRED), (idle, EndReason.IDLE)):
            found = reload(store, session)
            assert (found.ended_at, found.end_reason) == (session.expires_at, reason)
        assert reload(store, live) == live
        assert reload(store, ended).end_reason == EndReason.DELETED
        assert list(store.expire(NOW, 10)) == []

    def test_its_streams_end_and_its_inbox_says_so(self, store: BaseSessionStore) -> None:
        session = put(store, expires_at=NOW)
        read, left = put_read(store, session), put_stream(store, session)
        last = store.last_change(NOW + 100 * 365 * 24 * HOUR)
        store.expire(NOW, 10)
        assert stream_of(store, read).ended_at == stream_of(store, left).ended_at == NOW
        assert store.append([Append(read, messages("late"))]) == [()]
        assert has_ended(store, session.key)
        assert session.key in {name for _, names in store.changes(last) for name in names}

    def test_at_most_so_many_are_ended_at_once(self, store: BaseSessionStore) -> None:
        for _ in range(5):
            put(store, expires_at=NOW)
        assert [len(store.expire(NOW, 2)) for _ in range(4)] == [2, 2, 1, 0]

    def test_of_many_callers_each_session_is_returned_to_one(self, store: BaseSessionStore) -> None:
        sessions = [put(store, expires_at=NOW) for _ in range(20)]
        batches = together(*(store.aexpire(NOW, 3) for _ in range(8)))
        returned = [session.key for batch in batches for session in batch]
        while rest := store.expire(NOW, 10):
            returned += [session.key for session in rest]
        assert sorted(returned) == sorted(session.key for session in sessions)

    def test_those_that_are_named_do_not_wait_for_those_that_ran_out_before(
        self, store: BaseSessionStore
    ) -> None:
        before = [put(store, expires_at=NOW - HOUR) for _ in range(3)]
        named, live = put(store, expires_at=NOW), put(store)
        keys = [named.key, live.key, new_key(), named.key]
        assert list(store.expire(NOW, 2, keys)) == [named]
        assert reload(store, named).end_reason == EndReason.EXPIRED
        assert list(store.expire(NOW, 2, keys)) == list(store.expire(NOW, 2, [])) == []
        assert by_key([*store.expire(NOW, 10)]) == by_key(before)

    def test_a_session_that_is_ended_while_it_expires_is_ended_once(self, store: BaseSessionStore) -> None:
        async def end(session: SessionRecord) -> int:
            return int(await store.aend(session.key, NOW, EndReason.DELETED))

        async def expire() -> int:
            return len(await store.aexpire(NOW, 100))

        sessions = [put(store, expires_at=NOW) for _ in range(10)]
        work = [each for session in sessions for each in (end(session), expire())]
        ended = sum(together(*work)) + len(store.expire(NOW, 100))
        assert ended == len(sessions)

    def test_a_use_in_time_keeps_it(self, store: BaseSessionStore) -> None:
        session = put(store, expires_at=NOW)
        store.touch([Touch(session.key, NOW - timedelta(seconds=1), NOW + HOUR, NOW + HOUR)])
        assert list(store.expire(NOW, 10)) == []

    def test_one_may_warn_of_an_end(self, store: BaseSessionStore) -> None:
        session = put(store)
        answers = together(*(store.awarn(session.key, session.expires_at) for _ in range(8)))
        assert sorted(answers) == [False] * 7 + [True]
        assert store.warn(session.key, session.expires_at + HOUR)
        for earlier_or_same in (session.expires_at, session.expires_at + HOUR):
            assert not store.warn(session.key, earlier_or_same)

    def test_nobody_warns_of_what_is_over(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.end(session.key, NOW, EndReason.DELETED)
        assert not store.warn(session.key, session.expires_at)
        assert not store.warn(new_key(), NOW)

    def test_those_that_expire_soon_are_found(self, store: BaseSessionStore) -> None:
        soon = NOW + timedelta(minutes=1)
        last, first = put(store, expires_at=soon), put(store, expires_at=NOW + timedelta(microseconds=1))
        put(store, expires_at=NOW)
        put(store, expires_at=soon + timedelta(microseconds=1))
        put(store, expires_at=soon, server="/other")
        store.end(put(store, expires_at=soon).key, NOW, EndReason.DELETED)
        assert list(store.expiring("/mcp", NOW, soon, 10)) == [first, last]
        assert list(store.expiring("/mcp", NOW, soon, 1)) == [first]

    def test_who_was_warned_of_an_end_is_found_again_before_another(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        assert store.warn(session.key, session.expires_at)
        assert list(store.expiring("/mcp", NOW, session.expires_at, 1)) == [other]
        later = session.expires_at + HOUR
        store.touch([Touch(session.key, NOW, later, later)])
        assert {each.key for each in store.expiring("/mcp", NOW, later, 10)} == {session.key, other.key}


class StatisticsContract:
    def test_what_there_is_is_counted(self, store: BaseSessionStore) -> None:
        live, expired, ended, elsewhere = (
            put(store),
            put(store, expires_at=NOW),
            put(store),
            put(store, server="/other"),
        )
        put_read(store, live)
        put_read(store, elsewhere)
        put_stream(store, live)
        put_stream(store, live, "post", "worker")
        put_stream(store, live, "call", "worker")
        put_read(store, ended)
        store.end(ended.key, NOW, EndReason.DELETED)
        here, everywhere = store.statistics(NOW, "/mcp"), store.statistics(NOW)
        assert (here.live, here.expired, here.ended) == (1, 1, 1)
        assert (here.open_streams, here.running_calls) == (1, 2)
        assert (everywhere.live, everywhere.expired, everywhere.ended) == (2, 1, 1)
        assert (everywhere.open_streams, everywhere.running_calls) == (2, 2)
        assert store.statistics(NOW, "/nothing").live == 0
        assert store.count_live(NOW) == 2
        assert expired.key not in {each.key for each in store.live_sessions("/mcp", NOW, "", 10)}
