"""What a worker sends it takes first: then it is that worker's to send, and nobody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.utils import timezone

from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Append, Reading, Send, SessionRecord, Taken
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.attachments import attach
from mcp_sessions.testing.store_contract.builders import HOUR, messages, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import stream_of, texts_of, together, waiting_in


def take(
    store: BaseSessionStore, name: str, worker: str = "reader", after: int = 0, limit: int = 100
) -> list[str]:
    reading = store.read(name, after, limit, worker=worker)
    assert reading is not None
    assert not reading.is_estranged
    return [event.data for event in reading.events]


def send(store: BaseSessionStore, session: SessionRecord, *texts: str) -> None:
    store.append([Send(session.key, "message", text) for text in texts])


class TakeContract:
    def test_it_reads_as_read_does(self, store: BaseSessionStore) -> None:
        name = put_read(store, put(store))
        assert store.read(name, 0, 10, worker="reader") == Reading(())
        store.append([Append(name, messages("a", "b", "c"))])
        assert store.read(name, 1, 1, worker="reader") == store.read(name, 1, 1)
        assert store.read(name, 0, 10, 2, worker="reader") == store.read(name, 0, 10, 2)
        assert store.read(name, 0, 10, worker="reader") == store.read(name, 0, 10)
        assert store.read(new_stream_name(), 0, 10, worker="reader") is None

    def test_what_was_taken_counts_as_delivered(self, store: BaseSessionStore) -> None:
        name = put_read(store, put(store))
        store.append([Append(name, messages("a", "b", "c"))])
        assert take(store, name, limit=2) == ["a", "b"]
        assert (stream_of(store, name).delivered, waiting_in(store, name)) == (2, ["c"])
        assert take(store, name, limit=1) == ["a"]
        assert stream_of(store, name).delivered == 2

    def test_who_waits_for_an_event_takes_it_when_it_is_stored(self, store: BaseSessionStore) -> None:
        """By a Send to whatever stream is read, or by an Append to one."""
        session = put(store)
        name, worker = put_read(store, session), (("another", "reader"),)
        with_it = Send(session.key, "message", "1", readers=(*worker, (name, "reader")))
        placed = store.append(
            [with_it, replace(with_it, data="2"), Append(name, messages("3"), reader="reader")]
        )
        assert placed == [((name, 1),), ((name, 2),), ((name, 3),)]
        assert [type(place) for (place,) in placed] == [Taken] * 3
        assert (stream_of(store, name).delivered, waiting_in(store, name)) == (3, [])
        # It moves nowhere any more.
        newer = put_read(store, session)
        assert (texts_of(store, name), texts_of(store, newer)) == (["1", "2", "3"], [])
        assert store.mark_delivered("reader", {name: 2}, leaving=True) == [newer]
        assert take(store, newer) == ["3"]

    @pytest.mark.parametrize("why", ["another reads it", "nobody reads it", "something waits"])
    def test_else_it_waits(self, store: BaseSessionStore, why: str) -> None:
        session = put(store)
        name = put_read(store, session, "other" if why.startswith("another") else "reader")
        if why.startswith("nobody"):
            store.mark_delivered("reader", {name: 0}, leaving=True)
        before = ["0"] if why.startswith("something") else []
        send(store, session, *before)
        ((place,),) = store.append([Send(session.key, "message", "1", readers=((name, "reader"),))])
        assert (place[0], type(place)) == (name, tuple)
        assert waiting_in(store, name) == [*before, "1"]

    @pytest.mark.parametrize("reader", ["", "other"])
    def test_only_who_reads_the_stream_takes(self, store: BaseSessionStore, reader: str) -> None:
        session = put(store)
        name = put_read(store, session)
        store.append([Append(name, messages("a"))])
        if reader:
            attach(store, session, name, reader)
        else:
            store.mark_delivered("reader", {name: 0}, leaving=True)
        assert store.read(name, 0, 10, worker="reader") == Reading((), is_estranged=True)
        assert waiting_in(store, name) == ["a"]

    def test_a_lost_worker_takes_nothing_that_came_on_another_stream(self, store: BaseSessionStore) -> None:
        """It may have been stopped, and goes on: what it had taken it sends, and nothing else."""
        session = put(store)
        store.enlist("stopped")
        other, name = put_read(store, session), put_read(store, session, "stopped")
        send(store, session, "1", "2")
        assert take(store, name, "stopped", limit=1) == ["1"]
        store.take_over("stopped", "successor", 10)
        assert take(store, other) == ["2"]
        assert store.read(name, 0, 10, worker="stopped") == Reading((), is_estranged=True)
        # Whether it arrived is known to who comes back for it.
        attach(store, session, name, seen=0)
        assert take(store, name) == ["1"]

    def test_what_a_worker_takes_before_it_is_declared_lost_moves_nowhere(
        self, store: BaseSessionStore
    ) -> None:
        session = put(store)
        store.enlist("slow")
        other, name = put_read(store, session), put_read(store, session, "slow")
        send(store, session, "1", "2")
        assert take(store, name, "slow") == ["1", "2"]
        store.take_over("slow", "successor", 10)
        assert (texts_of(store, name), texts_of(store, other)) == (["1", "2"], [])

    def test_a_newer_stream_gets_what_nobody_has_taken(self, store: BaseSessionStore) -> None:
        """Else it would come behind what is sent from now on, once the older one is left."""
        session = put(store)
        older = put_read(store, session, "perhaps dead")
        send(store, session, "1", "2", "3")
        assert take(store, older, "perhaps dead", limit=1) == ["1"]
        newer = put_read(store, session)
        send(store, session, "4")
        assert (texts_of(store, older), take(store, newer)) == (["1"], ["2", "3", "4"])
        assert take(store, older, "perhaps dead", after=1) == []

    def test_who_has_to_make_room_takes_no_more(self, store: BaseSessionStore) -> None:
        session = put(store)
        older = put_read(store, session, "older")
        send(store, session, "1", "2")
        assert take(store, older, "older", limit=1) == ["1"]
        newer = new_stream_name()
        store.attach(session.key, newer, "newer", 0, 1, is_new=True)
        send(store, session, "3")
        assert store.read(older, 1, 10, worker="older") == Reading((), is_estranged=True)
        assert take(store, newer, "newer") == ["2", "3"]

    def test_what_was_taken_and_not_sent_is_given_back(self, store: BaseSessionStore) -> None:
        session = put(store)
        other, name = put_read(store, session), put_read(store, session, "leaves")
        send(store, session, "1", "2", "3")
        assert take(store, name, "leaves", limit=2) == ["1", "2"]
        assert store.mark_delivered("leaves", {name: 1}, leaving=True) == [other]
        send(store, session, "4")
        assert (texts_of(store, name), take(store, other)) == (["1"], ["2", "3", "4"])

    def test_what_is_given_back_comes_before_what_waits(self, store: BaseSessionStore) -> None:
        """The client has opened another stream before the worker noticed that this one's connection broke."""
        session = put(store)
        broken = put_read(store, session, "late")
        send(store, session, "1", "2", "3")
        assert take(store, broken, "late") == ["1", "2", "3"]
        newer = put_read(store, session)
        send(store, session, "4", "5")
        assert store.mark_delivered("late", {broken: 1}, leaving=True) == [newer]
        send(store, session, "6")
        assert (texts_of(store, broken), take(store, newer)) == (["1"], ["2", "3", "4", "5", "6"])
        assert stream_of(store, newer).delivered == stream_of(store, newer).position

    def test_what_something_later_was_taken_before_stays_for_who_resumes(
        self, store: BaseSessionStore
    ) -> None:
        session = put(store)
        broken = put_read(store, session, "late")
        send(store, session, "1", "2", "3")
        assert take(store, broken, "late") == ["1", "2", "3"]
        newer = put_read(store, session)
        send(store, session, "4")
        assert take(store, newer) == ["4"]
        assert store.mark_delivered("late", {broken: 1}, leaving=True) == []
        send(store, session, "5")
        assert take(store, newer, after=1) == ["5"]
        attach(store, session, broken, seen=1)
        assert take(store, broken, after=1) == ["2", "3"]

    def test_it_stays_too_if_the_later_one_was_taken_from_a_stream_that_was_left(
        self, store: BaseSessionStore
    ) -> None:
        session = put(store)
        broken = put_read(store, session, "late")
        send(store, session, "1")
        assert take(store, broken, "late") == ["1"]
        between = put_read(store, session)
        send(store, session, "2")
        assert take(store, between) == ["2"]
        store.mark_delivered("late", {broken: 0}, leaving=True)
        store.mark_delivered("reader", {between: 1}, leaving=True)
        send(store, session, "3")
        assert take(store, put_read(store, session)) == ["3"]
        attach(store, session, broken)
        assert take(store, broken) == ["1"]

    def test_who_takes_while_older_events_come_gets_each_once_and_in_order(
        self, store: BaseSessionStore
    ) -> None:
        """Whichever is first: the newer stream's reader, or the worker that gives back."""
        session = put(store)
        for _ in range(10):
            broken = put_read(store, session, "late")
            send(store, session, "1", "2")
            assert take(store, broken, "late") == ["1", "2"]
            newer = put_read(store, session)
            send(store, session, "3")
            reading, _ = together(
                store.aread(newer, 0, 10, worker="reader"),
                store.amark_delivered("late", {broken: 0}, leaving=True),
            )
            assert isinstance(reading, Reading)
            after = reading.events[-1].position if reading.events else 0
            came = [*(event.data for event in reading.events), *take(store, newer, after=after)]
            attach(store, session, broken, "late")
            stayed = take(store, broken, "late")
            assert (came, stayed) in ((["1", "2", "3"], []), (["3"], ["1", "2"]))
            store.mark_delivered("late", {broken: 2}, leaving=True)
            store.mark_delivered("reader", {newer: stream_of(store, newer).position}, leaving=True)

    def test_what_was_deleted_is_not_given_back(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        send(store, session, "1", "2", "3")
        assert len(take(store, name, limit=2)) == 2
        assert store.trim([name], 0, timezone.now() - HOUR) == 2
        store.mark_delivered("reader", {name: 0}, leaving=True)
        assert (stream_of(store, name).delivered, waiting_in(store, name)) == (2, ["3"])

    def test_whoever_takes_and_whatever_moves_each_comes_once_and_in_order(
        self, store: BaseSessionStore
    ) -> None:
        session = put(store)
        taken: list[str] = []
        came: list[list[str]] = []
        names = [new_stream_name() for _ in range(6)]

        async def send_all() -> None:
            for n in range(24):
                await store.aappend([Send(session.key, "message", f"{n}")])

        async def read_on(name: str) -> None:
            await store.aattach(session.key, name, name, 0, 2, is_new=True)
            position, found = 0, []
            for _ in range(10):
                reading = await store.aread(name, position, 2, worker=name)
                assert reading is not None
                found += [event.data for event in reading.events]
                position = reading.events[-1].position if reading.events else position
            taken.extend(found)
            came.append(found)

        together(send_all(), *map(read_on, names))
        rest = take(store, put_read(store, session))
        assert sorted([*taken, *rest], key=int) == [f"{n}" for n in range(24)]
        assert all(found == sorted(found, key=int) for found in [*came, rest])

    def test_a_stream_is_read_on_where_it_was_resumed(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        send(store, session, "1", "2", "3")
        take(store, name)
        attach(store, session, name, "again", seen=1)
        assert take(store, name, "again", after=1) == ["2", "3"]
        store.mark_delivered("again", {name: 3}, leaving=True)
        assert texts_of(store, put_stream(store, session)) == []
        assert stream_of(store, name).delivered == 3
