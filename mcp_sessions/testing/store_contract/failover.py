"""Failover: which worker takes over the streams that a lost worker wrote."""

from __future__ import annotations

from django.utils import timezone

from mcp_sessions.records import Append, EndReason, Takeover
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.attachments import attach, reader_of
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, messages, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import stream_of, together, written_by
from mcp_sessions.testing.store_contract.workers import TIMEOUT, MakeLate, WorkerFixtures, put_replies


def writers_of(store: BaseSessionStore, names: list[str]) -> list[str]:
    found = store.find_streams(names)
    return [found[name].writer for name in names]


async def take_over_all(store: BaseSessionStore, lost: str, successor: str, limit: int) -> int:
    count = 0
    while more := (await store.atake_over(lost, successor, limit)).written:
        assert more <= limit
        count += more
    return count


class FailoverContract(WorkerFixtures):
    def test_a_worker_takes_over_in_batches(self, store: BaseSessionStore, lost: str, worker: str) -> None:
        names = put_replies(store, lost, 5)
        assert [store.take_over(lost, worker, 2).written for _ in range(2)] == [2, 2]
        assert sorted(writers_of(store, names)) == sorted([worker] * 4 + [lost])
        assert store.find_lost(TIMEOUT) == [lost]
        assert store.take_over(lost, worker, 2).written == 1
        assert writers_of(store, names) == [worker] * 5
        assert store.take_over(lost, worker, 2).written == 0

    def test_the_lost_worker_is_forgotten_with_its_last_stream(
        self, store: BaseSessionStore, lost: str, worker: str
    ) -> None:
        """And what it read is read by nobody: what waits there may be taken over."""
        session = put(store)
        is_read, *replies = put_stream(store, session), *put_replies(store, lost, 2)
        attach(store, session, is_read, lost)
        assert store.take_over(lost, worker, 1) == Takeover(1)
        assert store.find_lost(TIMEOUT) == [lost]
        [left] = store.take_over(lost, worker, 1).left
        assert (left.name, left.session_key) == (is_read, session.key)
        assert store.find_lost(TIMEOUT) == []
        assert [reader_of(store, name) for name in (is_read, *replies)] == ["", "", ""]

    def test_who_only_read_is_forgotten_too(self, store: BaseSessionStore, lost: str, worker: str) -> None:
        session = put(store)
        theirs, mine = put_stream(store, session), put_stream(store, session)
        attach(store, session, theirs, lost)
        attach(store, session, mine, worker)
        assert store.take_over(lost, worker, 10).written == 0
        assert store.find_lost(TIMEOUT) == []
        assert (reader_of(store, theirs), reader_of(store, mine)) == ("", worker)

    def test_of_two_workers_that_take_over_one_gets_the_streams_that_were_read(
        self, store: BaseSessionStore, lost: str
    ) -> None:
        read = set()
        for _ in range(10):
            session = put(store)
            name = put_stream(store, session)
            attach(store, session, name, lost)
            read.add(name)
        answers = together(*(store.atake_over(lost, successor, 10) for successor in ("one", "two")))
        left = [stream.name for answer in answers for stream in answer.left]
        assert len(left) == len(set(left))
        assert set(left) <= read
        assert store.find_lost(TIMEOUT) == []

    def test_of_two_workers_that_take_over_one_gets_each_stream(
        self, store: BaseSessionStore, lost: str
    ) -> None:
        names = put_replies(store, lost, 30)
        counts = together(*(take_over_all(store, lost, successor, 4) for successor in ("one", "two")))
        assert sum(counts) == 30
        writers = writers_of(store, names)
        assert [writers.count(successor) for successor in ("one", "two")] == counts
        assert store.find_lost(TIMEOUT) == []

    def test_the_lost_worker_cannot_write_what_was_taken_over(
        self, store: BaseSessionStore, lost: str, worker: str
    ) -> None:
        """The lost worker comes back and has an answer: there is one already, or there will be."""
        [name] = put_replies(store, lost, 1)
        assert store.take_over(lost, worker, 10).written == 1
        answers = [Append(name, messages(text), ends=True, writer=text) for text in (lost, worker)]
        assert store.append(answers) == [(), ((name, 1),)]

    def test_neither_ended_streams_nor_those_of_others_are_taken_over(
        self, store: BaseSessionStore, lost: str, worker: str
    ) -> None:
        ended, others = put_replies(store, lost, 1), put_replies(store, "somebody", 1)
        nobodys = put_stream(store)
        store.append([Append(ended[0], (), ends=True)])
        assert store.take_over(lost, worker, 10).written == 0
        assert writers_of(store, [*ended, *others, nobodys]) == ["", "somebody", ""]

    def test_what_workers_write(self, store: BaseSessionStore) -> None:
        first, second, others = (put_replies(store, name, 2) for name in ("first", "second", "others"))
        put_stream(store)
        store.append([Append(first[1], (), ends=True)])
        ended = put(store)
        put_stream(store, ended, "post", "first")
        store.end(ended.key, NOW, EndReason.DELETED)
        running = [stream.name for stream in written_by(store, "first") if stream.session_key == ended.key]
        store.append([Append(name, (), ends=True) for name in running])
        found = {stream.name: stream for stream in written_by(store, "first", "second", "unknown")}
        assert found == store.find_streams([first[0], *second])
        assert found[second[1]].request_ids == (1,)
        assert {stream.name for stream in written_by(store, "others")} == set(others)
        assert written_by(store) == []

    def test_what_a_forgotten_worker_opens_late_is_found(
        self, store: BaseSessionStore, lost: str, worker: str
    ) -> None:
        """It was stopped on the way to the store, went on after others had taken over from it, and died."""
        session = put(store)
        assert store.take_over(lost, worker, 10) == Takeover()
        assert store.find_lost(TIMEOUT) == []
        [reply] = put_replies(store, lost, 1)
        assert store.beat(lost) is False
        assert store.find_lost(TIMEOUT) == [lost]
        assert store.take_over(lost, worker, 10).written == 1
        assert stream_of(store, reply).writer == worker
        assert store.find_lost(TIMEOUT) == []
        name = put_read(store, session, lost)
        assert store.find_lost(TIMEOUT) == [lost]
        assert [stream.name for stream in store.take_over(lost, worker, 10).left] == [name]
        assert reader_of(store, name) == ""
        assert store.find_lost(TIMEOUT) == []

    def test_what_a_forgotten_worker_takes_over_can_be_taken_over_again(
        self, store: BaseSessionStore, lost: str, worker: str, make_late: MakeLate
    ) -> None:
        [reply] = put_replies(store, lost, 1)
        make_late(worker, 2 * TIMEOUT)
        assert sorted(store.find_lost(TIMEOUT)) == sorted([lost, worker])
        store.take_over(worker, "successor", 10)
        store.take_over(lost, worker, 10)
        assert store.find_lost(TIMEOUT) == [worker]
        assert store.take_over(worker, "successor", 10).written == 1
        assert stream_of(store, reply).writer == "successor"

    def test_names_of_forgotten_workers_are_deleted(
        self, store: BaseSessionStore, lost: str, worker: str
    ) -> None:
        store.take_over(lost, worker, 10)
        store.delete_unreachable(timezone.now() - HOUR, 10)
        put_replies(store, lost, 1)
        assert store.find_lost(TIMEOUT) == [lost]
        store.take_over(lost, worker, 10)
        store.delete_unreachable(timezone.now() + HOUR, 10)
        put_replies(store, lost, 1)
        assert store.find_lost(TIMEOUT) == []
        assert store.beat(worker) is True

    def test_who_begins_twice_begins_once(self, store: BaseSessionStore, worker: str) -> None:
        """Whether it was stored is not known to who lost its connection meanwhile."""
        store.enlist(worker)
        assert store.beat(worker) is True
        assert store.find_lost(TIMEOUT) == []
