"""The database goes away for a while: nobody is sent away, nobody dies of it, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import pytest

from tests.e2e.deploys.calls import DECLARED_LOST
from tests.e2e.deploys.conftest import StartCluster, either_way
from tests.e2e.deploys.reading import (
    answers,
    beginning,
    messages,
    rest,
    results,
    same,
    served_again,
    status_and_retry,
    steps,
    texts,
    to_the_end,
)
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import through
from tests.harness.gate import Gate
from tests.harness.running import run
from tests.harness.server import KINDS, Kind
from tests.harness.wire import RawSession, Response, answer, request

TIMEOUT: Final = 6
OUTAGE_SECONDS: Final = 1.75 * TIMEOUT
OPTIONS: Final = {"WORKER_TIMEOUT": TIMEOUT}


async def refused_for(seconds: float, sessions: Sequence[RawSession]) -> None:
    """For so long, every worker says that it cannot serve, and when to ask again."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        for session in sessions:
            status, retry = await status_and_retry(session)
            assert status == 503 and retry is not None and int(retry) > 0, (status, retry)
        await asyncio.sleep(0.1)


async def answered(session: RawSession, call: dict[str, Any]) -> dict[str, Any]:
    async with session.post(call) as response:
        assert response.status == 200, (response.status, await response.body())
        return await answer(response)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Response]:
    """The answer to an initialize, whatever it is."""
    session = RawSession(url)
    params = {
        "protocolVersion": session.version,
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    async with session.post(session.message("initialize", params)) as response:
        yield response


async def opening_status(url: str) -> int:
    async with opened(url) as response:
        await response.body()
        return response.status


@either_way
def test_streams_and_calls_outlast_the_database(
    database_gate: Gate, start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    cluster = start_cluster(database_url=database_gate.url, redis_url=redis_url, options=OPTIONS)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            sessions = [await RawSession.open(worker.url) for worker in cluster.workers]
            listening = [await stack.enter_async_context(each.get()) for each in sessions]
            first, second, last = (gates.new() for _ in range(3))
            calls = [
                each.tool_call("steps", {"gates": [first, second, last]}, token="steps") for each in sessions
            ]
            running = [
                await stack.enter_async_context(session.post(call))
                for session, call in zip(sessions, calls, strict=True)
            ]
            events = [await messages(response, 1) for response in running]
            # One of them is followed at the worker that does not run it.
            running[0].cut()
            elsewhere = through(sessions[0], cluster[1])
            running[0] = await stack.enter_async_context(elsewhere.get(events[0][0].id))

            database_gate.close()
            gates.open(first)
            await refused_for(OUTAGE_SECONDS, sessions)
            gates.open(second)
            assert await opening_status(cluster[1].url) == 503
            async with sessions[0].get() as another:
                assert another.status == 503, another.status
            gates.open(last)
            database_gate.open()
            for session in sessions:
                await served_again(session)

            for number, session in enumerate(sessions):
                events[number] += await to_the_end(running[number])
                assert steps(events[number]) == [1, 2, 3]
                assert results(answers(events[number]))[0].startswith("done by")
                for worker in cluster.workers:
                    told = through(session, worker)
                    whole = await rest(told, beginning(events[number][0]))
                    assert same(whole) == same(events[number])
                    await told.call("say", {"texts": [f"at {worker.port}"]})
                heard = texts(await messages(listening[number], len(cluster)))
                assert heard == [f"at {worker.port}" for worker in cluster.workers]
        assert not any(DECLARED_LOST in worker.log() for worker in cluster.workers)

    run(scenario())


@pytest.mark.parametrize(("tool", "stream_after"), [("quiet", TIMEOUT / 2), ("report_at", 60)])
def test_a_call_that_ends_while_the_database_is_away_is_answered(
    tool: str, stream_after: float, database_gate: Gate, start_cluster: StartCluster, gates: Gates
) -> None:
    """It has no row, and meanwhile its reply has to become a stream: by lasting, or by a report."""
    options = {**OPTIONS, "STREAM_AFTER_SECONDS": stream_after}
    cluster = start_cluster(1, database_url=database_gate.url, options=options)
    gate = gates.new()

    async def scenario() -> None:
        session, other = [await RawSession.open(cluster[0].url) for _ in range(2)]
        call = session.tool_call(tool, {"gate": gate}, token="late")
        answering = asyncio.create_task(answered(session, call))
        await gates.noted(gate, "started")
        database_gate.close()
        await refused_for(TIMEOUT, [other])
        gates.open(gate)
        await refused_for(1, [other])
        database_gate.open()
        [result] = results([await answering])
        assert result == "reported" or result.startswith("done by")
        assert gates.notes(gate) == ["started", "finished"]

    run(scenario())


@either_way
def test_what_is_said_while_the_database_is_away_is_heard(
    database_gate: Gate, start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    """A tool that runs already sends on the GET stream, which another worker has."""
    options = {**OPTIONS, "STREAM_AFTER_SECONDS": 60}
    cluster = start_cluster(database_url=database_gate.url, redis_url=redis_url, options=options)
    gate = gates.new()

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].url)
        elsewhere = through(session, cluster[1])
        async with elsewhere.get() as listening:
            saying = asyncio.create_task(session.call("say_at", {"gate": gate, "texts": ["one", "two"]}))
            await gates.noted(gate, "started")
            database_gate.close()
            await refused_for(TIMEOUT, [elsewhere])
            gates.open(gate)
            await gates.noted(gate, "finished")
            database_gate.open()
            assert texts(await messages(listening, 2)) == ["one", "two"]
            assert results([await saying]) == ["said"]

    run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_starts_before_its_database_serves_once_it_is_there(
    kind: Kind, database_gate: Gate, new_cluster: StartCluster, gates: Gates
) -> None:
    cluster = new_cluster(1, kind=kind, database_url=database_gate.url)
    database_gate.close()
    cluster.start()

    async def scenario() -> None:
        url = cluster[0].url
        assert await opening_status(url) == 503
        async with request("GET", url, {"Accept": "text/event-stream"}) as response:
            # A browser is told when to come back: after a 503 it never would.
            why, when = [event async for event in response.events()]
            assert (response.status, why.event) == (200, "error") and (when.retry or 0) >= 1000
        database_gate.open()
        async with asyncio.timeout(60):
            while (status := await opening_status(url)) != 200:
                assert status == 503
                await asyncio.sleep(0.1)
        session, gate = await RawSession.open(url), gates.new()
        call = session.tool_call("steps", {"gates": [gate]}, token="steps")
        async with session.get() as listening, session.post(call) as running:
            [event] = await messages(running, 1)
            await session.call("say", {"texts": ["hello"]})
            assert texts(await messages(listening, 1)) == ["hello"]
            running.cut()
            gates.open(gate)
            assert len(results(answers(await rest(session, event.id)))) == 1

    run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_stops_without_its_database(
    kind: Kind, database_gate: Gate, start_cluster: StartCluster, gates: Gates
) -> None:
    """What cannot be stored cannot be said; the streams end as they should all the same."""
    server = start_cluster(1, kind=kind, database_url=database_gate.url, options={"DRAIN_SECONDS": 1})[0]

    async def scenario() -> None:
        session = await RawSession.open(server.url)
        call = session.tool_call("steps", {"gates": [gates.new()]}, token="steps")
        async with session.get() as listening, session.post(call) as running:
            await messages(running, 1)
            database_gate.close()
            await asyncio.to_thread(server.stop)
            assert await to_the_end(listening) == await to_the_end(running) == []

    run(scenario())


def test_a_database_that_accepts_and_answers_nothing_is_away(
    database_gate: Gate, start_cluster: StartCluster
) -> None:
    """Nothing breaks, so only the timeouts of the store tell anybody. The process stops all the same."""
    options = {"STORE_TIMEOUT": 1, "DRAIN_SECONDS": 1, "WORKER_TIMEOUT": 60}
    server = start_cluster(1, database_url=database_gate.url, options=options)[0]

    async def scenario() -> None:
        session = await RawSession.open(server.url)
        async with session.get() as listening:
            database_gate.hold()
            assert await status_and_retry(session) == (503, "1")
            assert await opening_status(server.url) == 503
            database_gate.release()
            await served_again(session)
            await session.call("say", {"texts": ["hello"]})
            assert texts(await messages(listening, 1)) == ["hello"]
            database_gate.hold()
            assert await status_and_retry(session) == (503, "1")
            await asyncio.to_thread(server.stop)

    run(scenario())
