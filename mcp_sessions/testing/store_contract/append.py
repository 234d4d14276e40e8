"""Adding to streams: positions, batches, the end, and the fence against workers that were lost."""

from __future__ import annotations

import random

import pytest

from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Append, Event, StreamKind
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import messages, put, put_stream
from mcp_sessions.testing.store_contract.observing import events_of, firsts, stream_of, texts_of, together


class AppendContract:
    def test_positions_are_consecutive_and_begin_with_1(self, store: BaseSessionStore) -> None:
        name, other = put_stream(store), put_stream(store)
        batch = [Append(name, messages("a", "b")), Append(other, messages("x")), Append(name, messages("c"))]
        assert store.append(batch) == [((name, 1),), ((other, 1),), ((name, 3),)]
        batch = [Append(name, (("session", "d"),)), Append(other, ())]
        assert store.append(batch) == [((name, 4),), ((other, 1),)]
        assert events_of(store, name, 2) == (Event(3, "message", "c"), Event(4, "session", "d"))
        assert texts_of(store, other) == ["x"]
        assert (stream_of(store, name).position, stream_of(store, other).position) == (4, 1)

    def test_nothing_is_added_to_an_ended_stream(self, store: BaseSessionStore) -> None:
        session = put(store)
        name, other = put_stream(store, session), put_stream(store, session)
        assert store.append([Append(name, messages("last"), ends=True)]) == [((name, 1),)]
        ended = stream_of(store, name)
        assert ended.ended_at is not None
        late = Append(name, messages("late"), ends=True)
        batch = [late, Append(other, messages("a")), Append(new_stream_name(), messages("b"))]
        assert store.append(batch) == [(), ((other, 1),), ()]
        assert stream_of(store, name) == ended
        assert texts_of(store, name) == ["last"]

    def test_what_follows_the_end_in_its_batch_is_refused(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        batch = [
            Append(name, messages("a"), ends=True),
            Append(name, messages("b")),
            Append(name, (), ends=True),
        ]
        assert firsts(store.append(batch)) == [1, None, None]
        assert texts_of(store, name) == ["a"]

    def test_an_item_without_events_answers_the_last_position(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        assert store.append([Append(name, ())]) == [((name, 0),)]
        batch = [
            Append(name, messages("a", "b")),
            Append(name, ()),
            Append(name, (), ends=True),
            Append(name, ()),
        ]
        assert firsts(store.append(batch)) == [1, 2, 2, None]
        assert store.append([]) == []

    @pytest.mark.parametrize("kind", ["post", "call"])
    def test_only_its_writer_adds_to_a_stream(self, store: BaseSessionStore, kind: StreamKind) -> None:
        """The fence: who is not the stream's writer, and says who it is, stores nothing."""
        name = put_stream(store, put(store), kind, "mine")
        before = stream_of(store, name)
        yours = Append(name, messages("yours"), ends=True, writer="yours")
        assert store.append([yours, Append(name, (), writer="yours")]) == [(), ()]
        assert stream_of(store, name) == before
        batch = [Append(name, messages("a"), writer="mine"), yours, Append(name, messages("b"))]
        assert firsts(store.append(batch)) == [1, None, 2]
        assert texts_of(store, name) == ["a", "b"]
        assert stream_of(store, name).ended_at is None

    def test_a_stream_of_nobody_takes_nothing_from_a_writer(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        assert store.append([Append(name, messages("a"), writer="mine"), Append(name, messages("b"))]) == [
            (),
            ((name, 1),),
        ]

    def test_the_writer_is_done_with_the_end(self, store: BaseSessionStore) -> None:
        """Its connection goes with it, but not one that came back, to whichever worker."""
        session = put(store)
        left, come_back = (put_stream(store, session, "post", "mine") for _ in range(2))
        store.attach(session.key, come_back, "other", 0, None)
        last = [Append(name, messages("last"), ends=True, writer="mine") for name in (left, come_back)]
        assert firsts(store.append(last)) == [1, 1]
        found = store.find_streams([left, come_back])
        assert (found[left].writer, found[left].reader) == ("", "")
        assert (found[come_back].writer, found[come_back].reader) == ("", "other")
        assert store.append(last) == [(), ()]

    def test_a_large_batch(self, store: BaseSessionStore) -> None:
        session = put(store)
        names = [put_stream(store, session, "post", "mine") for _ in range(40)]
        batch = [Append(name, messages(*(f"{n}" for n in range(30)))) for name in names]
        assert store.append(batch) == [((name, 1),) for name in names]
        assert firsts(store.append(batch[::-1])) == [31] * 40
        assert texts_of(store, names[7], 58) == ["28", "29"]

    def test_appends_at_once_leave_no_gap(self, store: BaseSessionStore) -> None:
        streams = [put_stream(store) for _ in range(3)]

        def batch(n: int) -> list[Append]:
            items = [Append(name, messages(f"{n}", f"{n}")) for name in streams]
            return items if n % 2 else items[::-1]

        answers = [firsts(placed) for placed in together(*(store.aappend(batch(n)) for n in range(30)))]
        in_order = [answer if n % 2 else answer[::-1] for n, answer in enumerate(answers)]
        for index, name in enumerate(streams):
            events = events_of(store, name)
            assert [event.position for event in events] == list(range(1, 61))
            assert sorted(first[index] or 0 for first in in_order) == list(range(1, 61, 2))
            assert all(events[(first[index] or 0) - 1].data == f"{n}" for n, first in enumerate(in_order))

    def test_a_reader_sees_positions_in_order(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        seen: list[int] = []

        async def write() -> None:
            for n in range(15):
                await store.aappend([Append(name, messages(f"{n}"))])

        async def follow() -> None:
            while len(seen) < 45:
                reading = await store.aread(name, seen[-1] if seen else 0, 100)
                assert reading is not None
                seen.extend(event.position for event in reading.events)

        together(follow(), write(), write(), write())
        assert seen == list(range(1, 46))

    @pytest.mark.parametrize("seed", range(8))
    def test_streams_are_lists(self, store: BaseSessionStore, seed: int) -> None:
        """Whatever is appended in whatever batches: a stream is what a list would be."""
        chance = random.Random(seed)
        names = [put_stream(store) for _ in range(3)]
        model: list[list[str]] = [[], [], []]
        ended: set[int] = set()
        expected: list[int | None] = []
        batch: list[Append] = []
        answers: list[int | None] = []
        for n in range(16):
            which, count, ends = chance.randrange(3), chance.randrange(4), chance.random() < 0.2
            new = [f"{n}.{m}" for m in range(count)]
            batch.append(Append(names[which], messages(*new), ends))
            if which in ended:
                expected.append(None)
            else:
                expected.append(len(model[which]) + 1 if new else len(model[which]))
                model[which].extend(new)
                ended |= {which} if ends else set()
            if chance.random() < 0.5:
                answers.extend(firsts(store.append(batch)))
                batch = []
        answers.extend(firsts(store.append(batch)))
        assert answers == expected
        for which, (name, kept) in enumerate(zip(names, model, strict=True)):
            after, limit = chance.randint(0, 12), chance.randint(1, 12)
            positions = range(after + 1, len(kept) + 1)[:limit]
            reading = store.read(name, after, limit)
            assert reading is not None
            assert reading.events == tuple(Event(p, "message", kept[p - 1]) for p in positions)
            assert reading.end == (len(kept) if which in ended else None)
