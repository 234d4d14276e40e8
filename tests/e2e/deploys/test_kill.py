"""A worker is killed: its clients go to another, miss nothing, and every call has one definite end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from tests.e2e.deploys.conftest import StartCluster, either_way
from tests.e2e.deploys.reading import (
    DEADLINE,
    answers,
    beginning,
    lost,
    messages,
    reasons,
    rest,
    same,
    steps,
    texts,
)
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.server import wait_until
from tests.harness.sse import Event
from tests.harness.wire import RawSession, Response

REPORTS: Final = 30
SAID: Final = ["one", "two", "three", "four"]
ELICITATION: Final[Mapping[str, Any]] = {"elicitation": {}}


@dataclass
class Held:
    """A call that has reported some steps and then waits at a gate that stays closed."""

    call: dict[str, Any]
    response: Response
    events: list[Event]

    @property
    def id(self) -> Any:
        return self.call["id"]


async def held(
    stack: AsyncExitStack, session: RawSession, gates: Gates, reports: int = 4, gate: str | None = None
) -> Held:
    gate, past = gate or gates.new(), gates.new()
    gates.open(past)
    call = session.tool_call("steps", {"gates": [past] * (reports - 1) + [gate]}, token="steps")
    response = await stack.enter_async_context(session.post(call))
    return Held(call, response, await messages(response, reports))


def kept(database: str) -> int:
    """The events of GET streams that are stored."""
    query = (
        "SELECT count(*) FROM mcp_sessions_streamevent e"
        " JOIN mcp_sessions_stream s ON s.id = e.stream_id WHERE s.kind = 'get'"
    )
    with psycopg.connect(database) as connection:
        [[count]] = connection.execute(query).fetchall()
    return int(count)


async def kill(*workers: Any) -> None:
    for worker in workers:
        await asyncio.to_thread(worker.kill)


@either_way
def test_the_streams_of_a_killed_worker_are_resumed_at_another(
    start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    cluster = start_cluster(redis_url=redis_url)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            session = await RawSession.open(cluster[0].url)
            listening = await stack.enter_async_context(session.get())
            await session.call("say", {"texts": SAID})
            heard = await messages(listening, len(SAID))
            running, cut = await held(stack, session, gates), await held(stack, session, gates)
            cut.response.cut()
            resumed = await stack.enter_async_context(session.get(cut.events[1].id))
            assert same(await messages(resumed, 2)) == same(cut.events[2:])
            await kill(cluster[0])

            elsewhere = through(session, cluster[1])
            async with elsewhere.get(heard[1].id) as again:
                assert same(await messages(again, 2)) == same(heard[2:])
                await elsewhere.call("say", {"texts": ["five"]})
                assert texts(await messages(again, 1)) == ["five"]
            # They come back before anybody can know of the death, and wait for what becomes of the call.
            ended = await asyncio.gather(*(rest(elsewhere, each.events[1].id) for each in (running, cut)))
            for each, events in zip((running, cut), ended, strict=True):
                assert same(events[:-1]) == same(each.events[2:])
                assert reasons(answers(events)) == lost(each.id)
                # And whoever comes later.
                whole = await rest(elsewhere, beginning(each.events[0]))
                assert same(whole) == same(each.events + events[-1:])

    run(scenario())


def test_a_call_of_the_only_worker_ends_after_its_restart(start_cluster: StartCluster, gates: Gates) -> None:
    """The new worker begins to watch the others when the client resumes its stream."""
    (worker,) = start_cluster(1).workers

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            session = await RawSession.open(worker.url)
            cut = await held(stack, session, gates)
            await kill(worker)
        await worker.start_beside()
        events = await rest(session, cut.events[1].id)
        assert same(events[:-1]) == same(cut.events[2:])
        assert reasons(answers(events)) == lost(cut.id)

    run(scenario())


def test_a_silent_call_of_a_killed_worker_ends_too(
    start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    """Its stream has nothing but the event by which it can be resumed."""
    cluster, gate = start_cluster(redis_url=redis_url), gates.new()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        call = session.tool_call("quiet", {"gate": gate})
        async with session.post(call) as response:
            priming = await response.next_event()
            await kill(cluster[0])
        events = await rest(through(session, cluster[1]), priming.id)
        assert len(events) == 1 and reasons(answers(events)) == lost(call["id"])
        assert gates.notes(gate) == ["started"]

    run(scenario())


def test_of_a_batch_only_what_was_not_answered_is_lost(start_cluster: StartCluster, gates: Gates) -> None:
    cluster, gate = start_cluster(), gates.new()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url, version="2025-03-26")
        echo = session.tool_call("echo", {"text": "first"})
        lasting = [session.tool_call("steps", {"gates": [gate]}, token=str(each)) for each in range(2)]
        async with session.post([echo, *lasting]) as response:
            # One report of each that lasts, and the answer to the first, which is in the stream then.
            events = await messages(response, 3)
            assert [each["id"] for each in answers(events)] == [echo["id"]]
            await kill(cluster[0])
        elsewhere = through(session, cluster[1])
        after = await rest(elsewhere, events[0].id)
        assert same(after[:2]) == same(events[1:])
        assert reasons(answers(after[2:])) == lost(*(each["id"] for each in lasting))
        assert same(await rest(elsewhere, events[-1].id)) == same(after[2:])

    run(scenario())


def test_what_was_answered_stays_so_when_its_answer_is_forgotten(
    database: str, start_cluster: StartCluster, gates: Gates
) -> None:
    """A long stream keeps its last events only, but not the reply to a batch: it tells what was answered."""
    cluster = start_cluster(options={"MAX_EVENTS": 5, "HEARTBEAT_SECONDS": 1})
    passed, gate = gates.new(), gates.new()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url, version="2025-03-26")
        echo = session.tool_call("echo", {"text": "first"})
        lasting = session.tool_call("steps", {"gates": [passed] * REPORTS + [gate]}, token="steps")
        texts = [str(number) for number in range(REPORTS)]
        async with session.get() as standing, session.post([echo, lasting]) as response:
            assert [each["id"] for each in answers(await messages(response, 2))] == [echo["id"]]
            gates.open(passed)
            last = (await messages(response, REPORTS))[-1]
            await session.call("say", {"texts": texts})
            await messages(standing, REPORTS)
            # Those of the worker's streams are shortened together.
            assert await asyncio.to_thread(wait_until, lambda: kept(database) < REPORTS, DEADLINE)
            await kill(cluster[0])
        ended = await rest(through(session, cluster[1]), last.id)
        assert reasons(answers(ended)) == lost(lasting["id"])

    run(scenario())


def test_an_answer_to_a_killed_workers_question_does_no_harm(
    start_cluster: StartCluster, redis_url: str | None
) -> None:
    cluster = start_cluster(redis_url=redis_url)

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url, capabilities=ELICITATION)
        call = session.tool_call("ask", {"question": "Who?"})
        async with session.post(call) as response:
            [question] = await messages(response, 1)
            await kill(cluster[0])
        elsewhere = through(session, cluster[1])
        answer = {"action": "accept", "content": {"name": "nobody"}}
        await elsewhere.reply(question.json()["id"], answer)
        ended = await rest(elsewhere, question.id)
        assert reasons(answers(ended)) == lost(call["id"]) and len(ended) == 1
        await elsewhere.reply(question.json()["id"], answer)
        assert same(await rest(elsewhere, question.id)) == same(ended)
        assert "result" in await elsewhere.call("echo", {"text": "still served"})

    run(scenario())


@either_way
def test_when_all_were_killed_a_new_one_finds_out(
    start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    cluster = start_cluster(redis_url=redis_url)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            sessions = [await RawSession.open(worker.url) for worker in cluster.workers]
            listening = await stack.enter_async_context(sessions[0].get())
            await sessions[0].call("say", {"texts": SAID})
            heard = await messages(listening, len(SAID))
            calls = [await held(stack, session, gates, reports=2) for session in sessions]
            await kill(*cluster.workers)
            await cluster[0].start_beside()

            again = through(sessions[0], cluster[0])
            async with again.get(heard[0].id) as response:
                assert same(await messages(response, 3)) == same(heard[1:])
            for session, each in zip(sessions, calls, strict=True):
                events = await rest(through(session, cluster[0]), each.events[0].id)
                assert same(events[:-1]) == same(each.events[1:])
                assert reasons(answers(events)) == lost(each.id)

    run(scenario())


def test_what_a_dead_call_leaves_is_read_by_many_at_once(
    start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    """Several calls of several sessions, whose survivors are two: each is ended once, and everywhere."""
    cluster = start_cluster(3, redis_url=redis_url)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            sessions = [await RawSession.open(cluster[0].url) for _ in range(3)]
            calls = [(each, await held(stack, each, gates, reports=2)) for each in sessions * 4]
            await kill(cluster[0])
            ended = await asyncio.gather(
                *(
                    rest(through(session, cluster[1 + number % 2]), call.events[0].id)
                    for number, (session, call) in enumerate(calls)
                )
            )
            for number, ((session, call), events) in enumerate(zip(calls, ended, strict=True)):
                assert steps(events) == [2] and reasons(answers(events)) == lost(call.id)
                other = through(session, cluster[2 - number % 2])
                assert same(await rest(other, call.events[0].id)) == same(events)

    run(scenario())
