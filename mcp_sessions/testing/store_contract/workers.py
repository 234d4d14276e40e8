"""Workers: the heartbeat, those that are lost, those that leave."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from mcp_sessions.identifiers import new_worker_name
from mcp_sessions.records import Append
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.attachments import attach, reader_of
from mcp_sessions.testing.store_contract.builders import messages, put, put_stream
from mcp_sessions.testing.store_contract.observing import together, written_by

MakeLate = Callable[[str, float], None]
TIMEOUT = 1000.0
"""Seconds; no machine is so slow that a worker which is not made late is late by it."""


def put_replies(store: BaseSessionStore, worker: str, count: int) -> list[str]:
    session = put(store)
    return [put_stream(store, session, "post", worker, (n,)) for n in range(count)]


class WorkerFixtures:
    @pytest.fixture
    def worker(self, store: BaseSessionStore) -> str:
        """The name of a worker that has just begun."""
        name = new_worker_name()
        store.enlist(name)
        return name

    @pytest.fixture
    def lost(self, store: BaseSessionStore, make_late: MakeLate) -> str:
        """The name of a worker that was declared lost."""
        name = new_worker_name()
        store.enlist(name)
        make_late(name, 2 * TIMEOUT)
        assert store.find_lost(TIMEOUT) == [name]
        return name


class ClockContract:
    def test_the_stores_clock_goes_on(self, store: BaseSessionStore) -> None:
        here, first, second = timezone.now(), store.now(), store.now()
        assert first <= second
        assert abs(first - here) < timedelta(hours=1)


class HeartbeatContract(ClockContract, WorkerFixtures):
    def test_a_worker_that_beats_is_alive(
        self, store: BaseSessionStore, worker: str, make_late: MakeLate
    ) -> None:
        assert store.beat(worker) is True
        assert store.find_lost(TIMEOUT) == []
        make_late(worker, 2 * TIMEOUT)
        assert store.beat(worker) is True
        assert store.find_lost(TIMEOUT) == []

    def test_who_is_not_known_does_not_beat(self, store: BaseSessionStore) -> None:
        assert store.beat(new_worker_name()) is False
        assert store.find_lost(TIMEOUT) == []

    def test_a_worker_that_is_late_is_lost(
        self, store: BaseSessionStore, worker: str, make_late: MakeLate
    ) -> None:
        late = new_worker_name()
        store.enlist(late)
        make_late(late, 2 * TIMEOUT)
        assert store.find_lost(3 * TIMEOUT) == []
        assert store.find_lost(TIMEOUT) == [late]
        assert store.beat(worker) is True

    def test_who_was_lost_stays_lost(self, store: BaseSessionStore, lost: str) -> None:
        """However late it is: it got that answer, and others may have taken over from it."""
        put_replies(store, lost, 1)
        assert store.beat(lost) is False
        assert store.find_lost(1000 * TIMEOUT) == [lost]

    def test_of_all_who_look_each_finds_the_lost(self, store: BaseSessionStore, make_late: MakeLate) -> None:
        late = [new_worker_name() for _ in range(3)]
        for name in late:
            store.enlist(name)
            make_late(name, 2 * TIMEOUT)
        found = together(*(store.afind_lost(TIMEOUT) for _ in range(6)))
        assert [sorted(names) for names in found] == [sorted(late)] * 6


class LeavingContract(WorkerFixtures):
    def test_who_leaves_nothing_is_forgotten(
        self, store: BaseSessionStore, worker: str, make_late: MakeLate
    ) -> None:
        [name] = put_replies(store, worker, 1)
        store.append([Append(name, messages("answer"), ends=True, writer=worker)])
        store.leave(worker)
        assert store.beat(worker) is False
        assert store.find_lost(0) == []

    def test_what_is_still_written_is_a_lost_workers(self, store: BaseSessionStore, worker: str) -> None:
        """At once: nobody waits until it could be late."""
        names = put_replies(store, worker, 2)
        store.leave(worker)
        assert store.beat(worker) is False
        assert store.find_lost(TIMEOUT) == [worker]
        assert store.take_over(worker, "successor", 10).written == 2
        assert {stream.name for stream in written_by(store, "successor")} == set(names)

    def test_what_is_still_read_is_given_up(self, store: BaseSessionStore, worker: str) -> None:
        session = put(store)
        name = put_stream(store, session)
        attach(store, session, name, worker)
        store.leave(worker)
        for lost in store.find_lost(TIMEOUT):
            store.take_over(lost, "successor", 10)
        assert reader_of(store, name) == ""
        assert store.find_lost(TIMEOUT) == []

    def test_others_stay(self, store: BaseSessionStore, worker: str) -> None:
        store.leave(new_worker_name())
        other = new_worker_name()
        store.enlist(other)
        store.leave(other)
        assert store.beat(worker) is True
