"""A call runs on one worker, and its client comes back to the other: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final

from tests.e2e.workers.conftest import Workers, both_stores, every_mode
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import messages, next_message, rest, text_of
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.sse import Event
from tests.harness.wire import DEADLINE, RawSession, is_response

MANY: Final = 600
QUICKLY: Final = 9
ROUNDS: Final = 6


def steps_of(session: RawSession, gates: Gates, count: int) -> tuple[dict[str, Any], list[str]]:
    """A call that reports as many steps, and the gate behind each."""
    names = [gates.new() for _ in range(count)]
    return session.tool_call("steps", {"gates": names}, token="t"), names


def assert_whole(events: list[Event], names: list[str], call: dict[str, Any], pid: int) -> None:
    """Each step once and in order, and then the answer of the worker that ran the call."""
    ids = [event.id for event in events if event.id]
    assert len(ids) == len(set(ids)), ids
    *reports, last = messages(events)
    assert [report["params"]["message"] for report in reports] == names
    assert is_response(last) and last["id"] == call["id"] and text_of(last) == f"done by {pid}"


@every_mode
def test_a_cut_call_goes_on_elsewhere(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        call, names = steps_of(session, gates, 4)
        async with session.post(call) as response:
            events = [await next_message(response)]
            response.cut()
        async with through(session, workers[1]).get(events[0].id) as response:
            for name in names:
                gates.open(name)
                events.append(await next_message(response))
            assert await rest(response) == []
        assert_whole(events, names, call, workers[0].pid)

    run(scenario())


@every_mode
def test_the_connection_that_is_left_behind_is_closed(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        call, names = steps_of(session, gates, 3)
        async with session.post(call) as left:
            events = [await next_message(left)]
            async with through(session, workers[1]).get(events[0].id) as response:
                # The call still waits at its first gate: it is not the end of the stream that is seen.
                assert messages(await rest(left)) == []
                assert gates.notes(names[0]) == ["started"]
                for name in names:
                    gates.open(name)
                events += messages_of(await rest(response))
        assert_whole(events, names, call, workers[0].pid)

    run(scenario())


def messages_of(events: list[Event]) -> list[Event]:
    return [event for event in events if event.is_message]


def test_the_newest_of_many_connections_reads_on(workers: Workers, gates: Gates) -> None:
    """Back and forth, with every connection left open: each is closed by the next."""

    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        call, names = steps_of(session, gates, 3)
        at_b, at_a = through(session, workers[1]), through(session, workers[0])
        async with session.post(call) as first:
            events = [await next_message(first)]
            async with at_b.get(events[0].id) as second:
                assert messages(await rest(first)) == []
                gates.open(names[0])
                events.append(await next_message(second))
                async with at_a.get(events[1].id) as third:
                    assert messages(await rest(second)) == []
                    gates.open(names[1])
                    events.append(await next_message(third))
                    async with at_b.get(events[2].id) as fourth:
                        assert messages(await rest(third)) == []
                        gates.open(names[2])
                        events.append(await next_message(fourth))
                        assert await rest(fourth) == []
        assert_whole(events, names, call, workers[0].pid)

    run(scenario())


@both_stores
def test_of_two_that_come_at_once_one_reads_on(workers: Workers, gates: Gates) -> None:
    """To both workers at the same time, for the same stream: the other is closed."""

    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        call, names = steps_of(session, gates, 3)
        async with session.post(call) as response:
            first = await next_message(response)
            response.cut()
        both = [asyncio.create_task(read_on(through(session, worker), first)) for worker in workers]
        # One of them ends by itself: the call goes on only then.
        ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE)
        assert len(ended) == 1
        for name in names:
            gates.open(name)
        loser, winner = sorted([await task for task in both], key=len)
        assert loser == []
        assert_whole([first, *winner], names, call, workers[0].pid)

    run(scenario())


async def read_on(session: RawSession, last: Event) -> list[Event]:
    async with session.get(last.id) as response:
        return messages_of(await rest(response))


@both_stores
def test_the_newest_of_connections_in_quick_succession_reads_on(workers: Workers, gates: Gates) -> None:
    """A client that comes back before the worker it came from has noticed, and then back there again."""

    async def scenario() -> None:
        for _ in range(ROUNDS):
            await come_back_quickly(workers, gates)

    run(scenario())


async def come_back_quickly(workers: Workers, gates: Gates) -> None:
    session = await RawSession.open(workers[0].url)
    call, names = steps_of(session, gates, 3)
    async with session.post(call) as response, AsyncExitStack() as stack:
        first = await next_message(response)
        connections = [response]
        for turn in range(1, QUICKLY + 1):
            again = through(session, workers[turn % 2]).get(first.id)
            connections.append(await stack.enter_async_context(again))
        *left, newest = connections
        # Whoever was left behind is closed before the call goes on: what comes late finds the newest.
        assert [messages(await rest(each)) for each in left] == [[]] * QUICKLY
        for name in names:
            gates.open(name)
        assert_whole([first, *messages_of(await rest(newest))], names, call, workers[0].pid)


@both_stores
def test_a_connection_cut_after_every_event(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        call, names = steps_of(session, gates, 6)
        async with session.post(call) as response:
            events = [await next_message(response)]
            response.cut()
        for turn, name in enumerate(names, 1):
            async with through(session, workers[turn % 2]).get(events[-1].id) as response:
                gates.open(name)
                events.append(await next_message(response))
                response.cut()
        assert_whole(events, names, call, workers[0].pid)

    run(scenario())


@every_mode
def test_a_fast_call_is_followed_from_elsewhere(workers: Workers, gates: Gates) -> None:
    """More events than are read or handed over at once."""

    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        gate = gates.new()
        call = session.tool_call("count", {"n": MANY, "gate": gate}, token="t")
        async with session.post(call) as response:
            first = await next_message(response)
            response.cut()
        async with through(session, workers[1]).get(first.id) as response:
            gates.open(gate)
            events = [first, *await rest(response)]
        *reports, last = messages(events)
        assert [report["params"]["progress"] for report in reports] == list(range(1, MANY + 1))
        assert text_of(last) == f"done by {workers[0].pid}"

    run(scenario())


@both_stores
def test_a_fast_call_is_followed_by_a_client_that_keeps_moving(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        gate = gates.new()
        call = session.tool_call("count", {"n": MANY, "gate": gate}, token="t")
        async with session.post(call) as response:
            events = [await next_message(response)]
            response.cut()
        gates.open(gate)
        for turn in range(1, MANY):
            async with through(session, workers[turn % 2]).get(events[-1].id) as response:
                while not is_response(events[-1].json()):
                    events.append(await next_message(response))
                    if len(events) % 50 == 0:
                        response.cut()
                        break
            if is_response(events[-1].json()):
                break
        *reports, last = messages(events)
        assert [report["params"]["progress"] for report in reports] == list(range(1, MANY + 1))
        assert text_of(last) == f"done by {workers[0].pid}"

    run(scenario())


def test_a_call_that_is_over_is_read_elsewhere(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        call, names = steps_of(session, gates, 3)
        for name in names:
            gates.open(name)
        async with session.post(call) as response:
            here = messages_of(await rest(response))
        for _ in range(2):
            async with through(session, workers[1]).get(here[0].id) as response:
                there = messages_of(await rest(response))
            assert [(event.id, event.data) for event in there] == [
                (event.id, event.data) for event in here[1:]
            ]
        assert_whole(here, names, call, workers[0].pid)

    run(scenario())


def test_a_client_that_is_sent_away_finds_the_result_elsewhere(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        gate = gates.new()
        async with session.post(session.tool_call("poll", {"gate": gate})) as response:
            primed = await response.next_event()
            assert primed.is_priming and messages(await rest(response)) == []
        async with through(session, workers[1]).get(primed.id) as response:
            gates.open(gate)
            (result,) = messages(await rest(response))
        assert text_of(result) == f"done by {workers[0].pid}"

    run(scenario())


def test_two_calls_of_a_session_do_not_mix(workers: Workers, gates: Gates) -> None:
    """One on each worker, and each is read on at the other."""

    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        here, there = session, through(session, workers[1])
        calls = [steps_of(session, gates, 3) for _ in range(2)]
        begun: list[Event] = []
        for at, (call, _) in zip((here, there), calls, strict=True):
            async with at.post(call) as response:
                begun.append(await next_message(response))
                response.cut()
        async with there.get(begun[0].id) as of_first, here.get(begun[1].id) as of_second:
            for name in [name for pair in zip(calls[0][1], calls[1][1], strict=True) for name in pair]:
                gates.open(name)
            read = [[begun[0], *await rest(of_first)], [begun[1], *await rest(of_second)]]
        for events, (call, names), worker in zip(read, calls, workers, strict=True):
            assert_whole(events, names, call, worker.pid)

    run(scenario())
