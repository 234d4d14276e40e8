"""What every store must do: each sentence of stores/base.py, as tests that each store's class inherits.

A class that inherits gives a fixture `store`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_sessions.exceptions import DuplicateIdentifier, InvalidSessionData, SessionEnded
from mcp_sessions.identifiers import digest_of, new_key, new_lease, new_session_id, new_stream_name
from mcp_sessions.records import Append, EndReason, Event, SessionRecord, StreamKind, Touch
from mcp_sessions.stores.base import BaseSessionStore

T = TypeVar("T")

NOW = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
"""With microseconds, in the hour that summer time takes away in Europe."""
HOUR = timedelta(hours=1)

KEPT_DATA: list[dict[str, Any]] = [
    {},
    {"basket": ["tea", 2, 1.5, True, None, {"of": "things"}]},
    {"text": 'ü 😀 "quoted" \\ \\u0000 is six characters\n\t\u2028'},
    {"": "an empty name", 'na"me': 1, "$.path": 2},
    {"large": 2**63, "negative": -(2**70)},
]
REFUSED_DATA: list[dict[str, Any]] = [
    {"nul": "a\x00b"},
    {"a\x00b": "nul in a name"},
    {"nul after a backslash": "\\\x00"},
    {"surrogate": "\ud800"},
    {"surrogate in a name \udfff": 1},
    {"nan": float("nan")},
    {"infinite": float("inf")},
    {"object": object()},
    {"bytes": b"bytes"},
    {"set": {1}},
]


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"inner": value}
    return value


def make_session(**changes: Any) -> SessionRecord:
    values: dict[str, Any] = {
        "key": new_key(),
        "digest": digest_of(new_session_id()),
        "server": "/mcp",
        "owner": "somebody",
        "created_at": NOW,
        "last_accessed_at": NOW,
        "expires_at": NOW + HOUR,
        "metadata": {"dialect": "specification", "requests": 0, "connections": 0},
    }
    return SessionRecord(**{**values, **changes})


def put(store: BaseSessionStore, **changes: Any) -> SessionRecord:
    """A session that is in the store."""
    session = make_session(**changes)
    store.create(session)
    return session


def put_stream(
    store: BaseSessionStore, session: SessionRecord | None = None, kind: StreamKind = "get"
) -> str:
    """The name of a new stream."""
    key = put(store).key if session is None else session.key
    return store.open_stream(key, new_stream_name(), kind).name


def reload(store: BaseSessionStore, session: SessionRecord) -> SessionRecord:
    found = store.load_by_key(session.key)
    assert found is not None
    return found


def messages(*texts: str) -> tuple[tuple[str, str], ...]:
    return tuple(("message", text) for text in texts)


def texts(events: Sequence[Event]) -> list[str]:
    return [event.data for event in events]


def together(*verbs: Awaitable[T]) -> list[T]:
    async def run() -> list[T]:
        return await asyncio.gather(*verbs)

    return asyncio.run(run())


class SessionContract:
    def test_a_session_comes_back_as_it_was(self, store: BaseSessionStore) -> None:
        session = put(
            store,
            owner="https://issuer.example\nsubject ü",
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
        expired = put(store, expires_at=NOW - HOUR)
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
        session = put(store, metadata={"client": {"name": "a", "title": "b"}, "requests": 3})
        assert store.save_metadata(session.key, {"client": {"name": "c"}, "initialized": True})
        expected = {"client": {"name": "c"}, "requests": 3, "initialized": True}
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
        session, other = put(store, metadata={"requests": 5}), put(store)
        later = NOW + timedelta(seconds=7, microseconds=1)
        first = Touch(session.key, later, later + HOUR, requests=2, connections=1)
        again = Touch(session.key, later, later + HOUR, requests=1)
        store.touch([first, again, Touch(new_key(), later, later)])
        found = reload(store, session)
        assert (found.last_accessed_at, found.expires_at) == (later, later + HOUR)
        assert (found.metadata["requests"], found.metadata["connections"]) == (8, 1)
        assert reload(store, other) == other

    def test_touch_moves_instants_only_forward(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.touch([Touch(session.key, NOW - HOUR, NOW, requests=1)])
        found = reload(store, session)
        assert (found.last_accessed_at, found.expires_at) == (NOW, NOW + HOUR)
        assert found.metadata["requests"] == 1

    def test_touch_leaves_ended_sessions(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.end(session.key, NOW, EndReason.DELETED)
        ended = reload(store, session)
        store.touch([Touch(session.key, NOW + HOUR, NOW + 2 * HOUR, requests=1)])
        assert reload(store, session) == ended

    def test_touches_at_once_count_all(self, store: BaseSessionStore) -> None:
        sessions = [put(store) for _ in range(6)]
        touches = [Touch(session.key, NOW, NOW, requests=1) for session in sessions]
        together(*(store.atouch(touches[::step]) for step in [1, -1] * 10))
        assert [reload(store, session).metadata["requests"] for session in sessions] == [20] * 6

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
        stream = store.find_stream(session.key, name)
        assert stream is not None
        assert stream.ended_at == NOW
        assert store.append([Append(name, messages("late")), Append(other, messages("a"))]) == [None, 1]

    def test_purge_deletes_what_ended_or_expired(self, store: BaseSessionStore) -> None:
        live, expired, ended = put(store), put(store, expires_at=NOW), put(store)
        streams = {session.key: put_stream(store, session) for session in (live, expired, ended)}
        for session in (live, expired, ended):
            store.append([Append(streams[session.key], messages("a"))])
            store.subscribe(session.key, "file:///a")
        store.end(ended.key, NOW, EndReason.DELETED)
        assert store.purge(NOW, 10) == 2
        assert store.load(expired.digest) is store.load(ended.digest) is None
        assert store.load(live.digest) == live
        assert store.find_stream(expired.key, streams[expired.key]) is None
        assert [len(store.read(name, 0, 10)) for name in streams.values()] == [1, 0, 0]
        assert [session.key for session in store.subscribers("file:///a", NOW)] == [live.key]
        assert store.append([Append(streams[ended.key], messages("late"))]) == [None]
        assert store.purge(NOW, 10) == 0

    def test_purge_deletes_at_most_its_limit(self, store: BaseSessionStore) -> None:
        sessions = [put(store, expires_at=NOW) for _ in range(5)]
        assert [store.purge(NOW, 2) for _ in range(4)] == [2, 2, 1, 0]
        assert not any(store.load(session.digest) for session in sessions)

    def test_purges_at_once_delete_each_session_once(self, store: BaseSessionStore) -> None:
        for _ in range(20):
            put_stream(store, put(store, expires_at=NOW))
        deleted = sum(together(*(store.apurge(NOW, 5) for _ in range(4))))
        while more := store.purge(NOW, 5):
            deleted += more
        assert deleted == 20


class DataContract:
    def test_a_lease_keeps_others_out(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 1})
        assert store.lease(session.key, "mine", NOW, NOW + HOUR) == {"count": 1}
        assert store.lease(session.key, "yours", NOW, NOW + HOUR) is None
        assert store.release(session.key, "mine", {"count": 2}) is True
        assert store.lease(session.key, "yours", NOW, NOW + HOUR) == {"count": 2}

    def test_a_lease_is_given_back_without_writing(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 1})
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        assert store.release(session.key, "mine", None) is True
        assert store.lease(session.key, "yours", NOW, NOW + HOUR) == {"count": 1}

    def test_a_lease_that_ran_out_is_lost_to_the_next(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 1})
        store.lease(session.key, "slow", NOW, NOW + HOUR)
        later = NOW + HOUR + timedelta(microseconds=1)
        assert store.lease(session.key, "next", later, later + HOUR) == {"count": 1}
        assert store.release(session.key, "slow", {"count": 99}) is False
        assert store.release(session.key, "slow", None) is False
        assert store.lease(session.key, "slow", later, later + HOUR) is None
        assert store.release(session.key, "next", {"count": 2}) is True
        assert reload(store, session).data == {"count": 2}

    def test_who_has_the_lease_may_take_it_again(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        assert store.lease(session.key, "mine", NOW, NOW + 2 * HOUR) == {}
        assert store.lease(session.key, "yours", NOW + HOUR * 1.5, NOW + 2 * HOUR) is None

    def test_data_of_an_ended_session_is_not_edited(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 1})
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        store.end(session.key, NOW, EndReason.DELETED)
        for key in (session.key, new_key()):
            with pytest.raises(SessionEnded):
                store.lease(key, "yours", NOW, NOW + HOUR)
            with pytest.raises(SessionEnded):
                store.release(key, "mine", {"count": 2})
        assert reload(store, session).data == {"count": 1}

    @pytest.mark.parametrize("data", [*KEPT_DATA, nested(31)])
    def test_data_comes_back_as_it_was(self, store: BaseSessionStore, data: dict[str, Any]) -> None:
        session = put(store)
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        assert store.release(session.key, "mine", data)
        assert reload(store, session).data == data

    @pytest.mark.parametrize("data", [*REFUSED_DATA, nested(32), nested(100_000)])
    def test_data_that_is_no_json_is_refused(self, store: BaseSessionStore, data: dict[str, Any]) -> None:
        session = put(store, data={"count": 1})
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        with pytest.raises(InvalidSessionData):
            store.release(session.key, "mine", data)
        assert store.lease(session.key, "next", NOW, NOW + HOUR) == {"count": 1}

    def test_a_hundred_increments_at_once_keep_a_hundred(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 0})

        async def increment_ten_times() -> None:
            for _ in range(10):
                token = new_lease()
                while (data := await store.alease(session.key, token, NOW, NOW + HOUR)) is None:
                    await asyncio.sleep(0)
                assert await store.arelease(session.key, token, {"count": data["count"] + 1})

        together(*(increment_ten_times() for _ in range(10)))
        assert reload(store, session).data == {"count": 100}


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


class StreamContract:
    def test_a_stream_begins_empty(self, store: BaseSessionStore) -> None:
        session = put(store)
        stream = store.open_stream(session.key, new_stream_name(), "post")
        assert (stream.session_key, stream.kind, stream.position, stream.delivered) == (
            session.key,
            "post",
            0,
            0,
        )
        assert stream.ended_at is None
        assert store.find_stream(session.key, stream.name) == stream
        assert store.read(stream.name, 0, 10) == []

    def test_an_ended_session_gets_no_stream(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.end(session.key, NOW, EndReason.DELETED)
        for key in (session.key, new_key()):
            with pytest.raises(SessionEnded):
                store.open_stream(key, new_stream_name(), "get")

    def test_a_stream_opened_while_its_session_ends_is_ended_too(self, store: BaseSessionStore) -> None:
        session = put(store)

        async def open_one() -> str | None:
            try:
                return (await store.aopen_stream(session.key, new_stream_name(), "post")).name
            except SessionEnded:
                return None

        async def end() -> str | None:
            await store.aend(session.key, NOW, EndReason.DELETED)
            return None

        opened = together(*(open_one() for _ in range(6)), end(), *(open_one() for _ in range(6)))
        found = [store.find_stream(session.key, name) for name in opened if name]
        assert all(stream is not None and stream.ended_at == NOW for stream in found)

    def test_another_sessions_stream_is_not_found(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        assert store.find_stream(put(store).key, name) is None
        assert store.find_stream(new_key(), name) is None

    def test_the_newest_stream_is_the_one_opened_last(self, store: BaseSessionStore) -> None:
        session = put(store)
        first, second = put_stream(store, session), put_stream(store, session)
        put_stream(store, session, "post")
        put_stream(store)

        def newest(kind: StreamKind) -> str | None:
            stream = store.newest_stream(session.key, kind)
            return None if stream is None else stream.name

        assert newest("get") == second
        store.append([Append(second, (), ends=True)])
        assert newest("get") == first
        store.append([Append(first, (), ends=True)])
        assert newest("get") is None
        assert store.newest_stream(new_key(), "get") is None

    def test_positions_are_consecutive_and_begin_with_1(self, store: BaseSessionStore) -> None:
        name, other = put_stream(store), put_stream(store)
        batch = [Append(name, messages("a", "b")), Append(other, messages("x")), Append(name, messages("c"))]
        assert store.append(batch) == [1, 1, 3]
        assert store.append([Append(name, (("session", "d"),)), Append(other, ())]) == [4, 1]
        assert store.read(name, 2, 10) == [Event(3, "message", "c"), Event(4, "session", "d")]
        assert texts(store.read(other, 0, 10)) == ["x"]

    def test_reading_a_page(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        store.append([Append(name, messages(*"abcde"))])
        assert texts(store.read(name, 0, 2)) == ["a", "b"]
        assert texts(store.read(name, 2, 2)) == ["c", "d"]
        assert store.read(name, 5, 2) == []
        assert store.read(new_stream_name(), 0, 2) == []

    def test_the_text_of_an_event_is_kept(self, store: BaseSessionStore) -> None:
        data = ["", "NULL", "null", "ü 😀", "{a,b}", "'\"\\ %s %%", "\n", "x" * 100_000]
        name = put_stream(store)
        store.append([Append(name, messages(*data))])
        assert texts(store.read(name, 0, 100)) == data

    def test_nothing_is_added_to_an_ended_stream(self, store: BaseSessionStore) -> None:
        session = put(store)
        name, other = put_stream(store, session), put_stream(store, session)
        assert store.append([Append(name, messages("last"), ends=True)]) == [1]
        ended = store.find_stream(session.key, name)
        assert ended is not None
        assert ended.ended_at is not None
        late = Append(name, messages("late"), ends=True)
        batch = [late, Append(other, messages("a")), Append(new_stream_name(), messages("b"))]
        assert store.append(batch) == [None, 1, None]
        assert store.find_stream(session.key, name) == ended
        assert texts(store.read(name, 0, 10)) == ["last"]

    def test_what_follows_the_end_in_its_batch_is_refused(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        batch = [
            Append(name, messages("a"), ends=True),
            Append(name, messages("b")),
            Append(name, (), ends=True),
        ]
        assert store.append(batch) == [1, None, None]
        assert texts(store.read(name, 0, 10)) == ["a"]

    def test_an_item_without_events_answers_the_last_position(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        assert store.append([Append(name, ())]) == [0]
        batch = [
            Append(name, messages("a", "b")),
            Append(name, ()),
            Append(name, (), ends=True),
            Append(name, ()),
        ]
        assert store.append(batch) == [1, 2, 2, None]
        assert store.append([]) == []

    def test_a_large_batch(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_stream(store, session, "post") for _ in range(40)]
        batch = [Append(name, messages(*(f"{n}" for n in range(30)))) for name in names]
        assert store.append(batch) == [1] * 40
        assert store.append(batch[::-1]) == [31] * 40
        assert texts(store.read(names[7], 58, 100)) == ["28", "29"]

    def test_appends_at_once_leave_no_gap(self, store: BaseSessionStore) -> None:
        streams = [put_stream(store) for _ in range(3)]

        def batch(n: int) -> list[Append]:
            items = [Append(name, messages(f"{n}", f"{n}")) for name in streams]
            return items if n % 2 else items[::-1]

        answers = together(*(store.aappend(batch(n)) for n in range(30)))
        firsts = [
            [answer if n % 2 else answer[::-1] for n, answer in enumerate(answers)][n] for n in range(30)
        ]
        for index, name in enumerate(streams):
            events = store.read(name, 0, 100)
            assert [event.position for event in events] == list(range(1, 61))
            assert sorted(first[index] or 0 for first in firsts) == list(range(1, 61, 2))
            assert all(events[(first[index] or 0) - 1].data == f"{n}" for n, first in enumerate(firsts))

    def test_a_reader_sees_positions_in_order(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        seen: list[int] = []

        async def write() -> None:
            for n in range(15):
                await store.aappend([Append(name, messages(f"{n}"))])

        async def follow() -> None:
            while len(seen) < 45:
                events = await store.aread(name, seen[-1] if seen else 0, 100)
                seen.extend(event.position for event in events)

        together(follow(), write(), write(), write())
        assert seen == list(range(1, 46))

    @given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=8), st.data())
    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
        database=None,
    )
    def test_streams_are_lists(
        self, store: BaseSessionStore, plan: list[tuple[int, int, bool]], data: st.DataObject
    ) -> None:
        """Whatever is appended in whatever batches: a stream is what a list would be."""
        names = [put_stream(store) for _ in range(3)]
        model: list[list[str]] = [[], [], []]
        ended: set[int] = set()
        expected: list[int | None] = []
        batch: list[Append] = []
        answers: list[int | None] = []
        for n, (which, count, ends) in enumerate(plan):
            new = [f"{n}.{m}" for m in range(count)]
            batch.append(Append(names[which], messages(*new), ends))
            if which in ended:
                expected.append(None)
            else:
                expected.append(len(model[which]) + 1 if new else len(model[which]))
                model[which].extend(new)
                ended |= {which} if ends else set()
            if data.draw(st.booleans()):
                answers.extend(store.append(batch))
                batch = []
        answers.extend(store.append(batch))
        assert answers == expected
        for name, kept in zip(names, model, strict=True):
            after, limit = data.draw(st.integers(0, 12)), data.draw(st.integers(1, 12))
            positions = range(after + 1, len(kept) + 1)[:limit]
            assert store.read(name, after, limit) == [Event(p, "message", kept[p - 1]) for p in positions]

    def test_delivery_only_moves_forward(self, store: BaseSessionStore) -> None:
        session = put(store)
        name, other = put_stream(store, session), put_stream(store, session)
        store.append([Append(name, messages("a", "b", "c")), Append(other, messages("x"))])

        def delivered(stream: str) -> int:
            found = store.find_stream(session.key, stream)
            assert found is not None
            return found.delivered

        store.mark_delivered({name: 2, other: 1, new_stream_name(): 4})
        assert (delivered(name), delivered(other)) == (2, 1)
        store.mark_delivered({name: 1, other: 1})
        assert (delivered(name), delivered(other)) == (2, 1)
        together(*(store.amark_delivered({name: n, other: n}) for n in (3, 1, 2, 3)))
        assert (delivered(name), delivered(other)) == (3, 3)
        store.mark_delivered({})

    def test_what_waits_is_taken_over(self, store: BaseSessionStore) -> None:
        session = put(store)
        left, closed, still_open, to = (put_stream(store, session) for _ in range(4))
        reply, foreign = put_stream(store, session, "post"), put_stream(store)
        for name in (reply, foreign, still_open, to):
            store.append([Append(name, messages(f"in {name}"))])
        store.append([Append(left, messages("sent", "1"))])
        store.append([Append(closed, messages("2"), ends=True)])
        store.append([Append(left, messages("3", "4"))])
        store.mark_delivered({left: 1})
        assert store.take_over(session.key, to, [still_open, to]) == 4
        assert texts(store.read(to, 0, 10)) == [f"in {to}", "1", "2", "3", "4"]
        assert [event.position for event in store.read(to, 0, 10)] == [1, 2, 3, 4, 5]
        assert texts(store.read(left, 0, 10)) == ["sent"]
        assert store.read(closed, 0, 10) == []
        for name in (reply, foreign, still_open):
            assert texts(store.read(name, 0, 10)) == [f"in {name}"]
        assert store.take_over(session.key, to, []) == 1
        assert texts(store.read(to, 5, 10)) == [f"in {still_open}"]
        assert store.append([Append(left, messages("5")), Append(to, messages("6"))]) == [5, 7]
        assert store.take_over(session.key, to, []) == 1
        assert texts(store.read(to, 6, 10)) == ["6", "5"]

    def test_nothing_is_taken_over_by_a_stream_that_cannot_have_it(self, store: BaseSessionStore) -> None:
        session = put(store)
        left, ended, foreign = put_stream(store, session), put_stream(store, session), put_stream(store)
        store.append([Append(left, messages("a")), Append(ended, (), ends=True)])
        for to in (ended, foreign, new_stream_name()):
            assert store.take_over(session.key, to, []) == 0
        assert texts(store.read(left, 0, 10)) == ["a"]
        assert store.read(foreign, 0, 10) == []

    def test_an_event_is_taken_over_once(self, store: BaseSessionStore) -> None:
        session = put(store)
        left = put_stream(store, session)
        streams = [put_stream(store, session) for _ in range(4)]
        store.append([Append(left, messages(*"abcdef"))])
        together(*(store.atake_over(session.key, to, streams) for to in streams))
        assert sorted(text for to in streams for text in texts(store.read(to, 0, 10))) == list("abcdef")


class StoreContract(SessionContract, DataContract, SubscriptionContract, StreamContract):
    """All of it."""
