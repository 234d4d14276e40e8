"""Sessions: create, load, save, touch, end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mcp_sessions.exceptions import DuplicateIdentifier
from mcp_sessions.identifiers import digest_of, new_key
from mcp_sessions.records import Append, EndReason, SessionRecord, Touch
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, make_session, messages, put, put_stream
from mcp_sessions.testing.store_contract.data import nested
from mcp_sessions.testing.store_contract.observing import reload, stream_of, together


class SessionContract:
    def test_a_session_comes_back_as_it_was(self, store: BaseSessionStore) -> None:
        session = put(
            store,
            owner="https://issuer.example\nsubject ü",
            timeout_at=NOW + 2 * HOUR,
            requests=3,
            connections=2,
            metadata={"client": {"name": "ü 😀", "version": "1"}, "capabilities": {"roots": {}}},
            data={"basket": ["tea"]},
        )
        assert store.load(session.digest) == session
        assert store.load_by_key(session.key) == session

    def test_an_unknown_session_is_none(self, store: BaseSessionStore) -> None:
        session = put(store)
        assert store.load(session.key) is None
        assert store.load_by_key(session.digest[:32]) is None

    def test_a_session_that_is_not_live_is_found_too(self, store: BaseSessionStore) -> None:
        expired = put(store, expires_at=NOW - HOUR, timeout_at=NOW)
        ended = put(store, ended_at=NOW, end_reason=EndReason.DELETED)
        assert store.load(expired.digest) == expired
        assert store.load(ended.digest) == ended

    @pytest.mark.parametrize("name", ["key", "digest"])
    def test_a_taken_identifier_is_refused(self, store: BaseSessionStore, name: str) -> None:
        first = put(store)
        second = make_session(**{name: getattr(first, name)}, owner="somebody else")
        with pytest.raises(DuplicateIdentifier):
            store.create(second)
        assert store.load(first.digest) == store.load_by_key(first.key) == first

    def test_one_of_many_gets_an_identifier(self, store: BaseSessionStore) -> None:
        async def create(session: SessionRecord) -> bool:
            try:
                await store.acreate(session)
            except DuplicateIdentifier:
                return False
            return True

        digest = digest_of("drawn twice")
        assert together(*(create(make_session(digest=digest)) for _ in range(8))).count(True) == 1

    def test_metadata_that_a_database_refuses_is_kept_with_replacements(
        self, store: BaseSessionStore
    ) -> None:
        client = {"na\x00me": "a\x00b\ud800c", "list": ["\udfff", float("nan"), float("-inf"), 1.5]}
        session = put(store, metadata={"client": client})
        kept = {"na\ufffdme": "a\ufffdb\ufffdc", "list": ["\ufffd", None, None, 1.5]}
        assert reload(store, session).metadata == {"client": kept}
        assert store.save_metadata(session.key, {"client": {"name": "\x00"}})
        assert reload(store, session).metadata == {"client": {"name": "\ufffd"}}

    def test_metadata_may_be_nested_deeply(self, store: BaseSessionStore) -> None:
        session = put(store, metadata=nested(31))
        assert reload(store, session).metadata == nested(31)
        assert store.save_metadata(session.key, {"capabilities": nested(200), "initialized": True})
        assert reload(store, session).metadata["initialized"] is True

    def test_changes_of_metadata_are_merged(self, store: BaseSessionStore) -> None:
        session = put(store, metadata={"client": {"name": "a", "title": "b"}, "log_level": "info"})
        assert store.save_metadata(session.key, {"client": {"name": "c"}, "initialized": True})
        expected = {"client": {"name": "c"}, "log_level": "info", "initialized": True}
        assert reload(store, session).metadata == expected

    def test_metadata_of_an_ended_session_stays(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.end(session.key, NOW, EndReason.DELETED)
        assert store.save_metadata(session.key, {"late": True}) is False
        assert store.save_metadata(new_key(), {"late": True}) is False
        assert reload(store, session).metadata == session.metadata

    def test_merges_at_once_keep_all(self, store: BaseSessionStore) -> None:
        session = put(store, metadata={})
        together(*(store.asave_metadata(session.key, {f"name{n}": n}) for n in range(20)))
        assert reload(store, session).metadata == {f"name{n}": n for n in range(20)}

    def test_touch_adds_counts_and_moves_instants(self, store: BaseSessionStore) -> None:
        session, other = put(store, requests=5), put(store)
        later = NOW + timedelta(seconds=7, microseconds=1)
        ends, times_out = later + HOUR, later + 2 * HOUR
        first = Touch(session.key, later, ends, times_out, requests=2, connections=1)
        again = Touch(session.key, later, ends, times_out, requests=1)
        store.touch([first, again, Touch(new_key(), later, later, later)])
        found = reload(store, session)
        assert (found.last_accessed_at, found.expires_at, found.timeout_at) == (later, ends, times_out)
        assert (found.requests, found.connections) == (8, 1)
        assert found.metadata == session.metadata
        assert reload(store, other) == other

    def test_touch_moves_instants_only_forward(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.touch([Touch(session.key, NOW - HOUR, NOW, NOW, requests=1)])
        assert reload(store, session) == replace(session, requests=1)

    def test_touch_does_not_revive_what_had_expired_when_it_was_used(self, store: BaseSessionStore) -> None:
        session = put(store)
        late, in_time = session.expires_at, session.expires_at - timedelta(microseconds=1)
        store.touch([Touch(session.key, late, late + HOUR, late + HOUR, requests=1)])
        assert reload(store, session) == session
        store.touch([Touch(session.key, in_time, late + HOUR, late + HOUR)])
        assert reload(store, session).expires_at == late + HOUR

    def test_touch_adds_the_counts_of_ended_sessions_and_nothing_else(self, store: BaseSessionStore) -> None:
        """A worker writes a use later than it was, and another has ended the session meanwhile."""
        session = put(store)
        store.end(session.key, NOW, EndReason.DELETED)
        ended = reload(store, session)
        used = Touch(session.key, NOW, NOW + 2 * HOUR, NOW + 2 * HOUR, requests=5, connections=1)
        store.touch([used])
        assert reload(store, session) == replace(ended, requests=5, connections=1)
        late = session.expires_at
        store.touch([Touch(session.key, late, late + HOUR, late + HOUR, requests=1)])
        assert reload(store, session).requests == 5

    def test_touch_says_which_are_over(self, store: BaseSessionStore) -> None:
        live, ended, unknown = put(store), put(store), new_key()
        store.end(ended.key, NOW, EndReason.DELETED)
        keys = [live.key, ended.key, unknown]
        assert set(store.touch([Touch(key, NOW, NOW, NOW) for key in keys])) == {ended.key, unknown}
        assert store.touch([Touch(live.key, NOW, NOW, NOW)]) == []

    def test_touches_at_once_count_all(self, store: BaseSessionStore) -> None:
        sessions = [put(store) for _ in range(6)]
        touches = [Touch(session.key, NOW, NOW, NOW, requests=1) for session in sessions]
        together(*(store.atouch(touches[::step]) for step in [1, -1] * 10))
        assert [reload(store, session).requests for session in sessions] == [20] * 6

    def test_touching_nothing(self, store: BaseSessionStore) -> None:
        store.touch([])

    def test_end_is_true_for_one_caller(self, store: BaseSessionStore) -> None:
        session = put(store)
        answers = together(*(store.aend(session.key, NOW, EndReason.OPERATOR) for _ in range(16)))
        assert sorted(answers) == [False] * 15 + [True]
        found = reload(store, session)
        assert (found.ended_at, found.end_reason) == (NOW, EndReason.OPERATOR)

    def test_the_first_end_is_the_one_that_counts(self, store: BaseSessionStore) -> None:
        session = put(store)
        assert store.end(session.key, NOW, EndReason.DELETED)
        assert store.end(session.key, NOW + HOUR, EndReason.EXPIRED) is False
        assert reload(store, session).end_reason == EndReason.DELETED
        assert store.end(new_key(), NOW, EndReason.DELETED) is False

    def test_the_end_of_a_session_ends_its_streams(self, store: BaseSessionStore) -> None:
        session = put(store)
        name, other = put_stream(store, session), put_stream(store)
        store.end(session.key, NOW, EndReason.DELETED)
        assert stream_of(store, name).ended_at == NOW
        placed = store.append([Append(name, messages("late")), Append(other, messages("a"))])
        assert placed == [(), ((other, 1),)]
