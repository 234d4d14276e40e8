"""SIGTERM under every server: streams are sent away, calls finish, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest

from tests.e2e.deploys.conftest import PATIENT, StartCluster, either_way
from tests.e2e.deploys.guide import guide_stream
from tests.e2e.deploys.reading import (
    answers,
    lost,
    messages,
    reasons,
    rest,
    results,
    same,
    status_and_retry,
    to_the_end,
)
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.server import ALL_KINDS, CHILDREN, KINDS, STOP_DEADLINE, Kind, ServerProcess, wait_until
from tests.harness.sse import Event
from tests.harness.wire import RawSession, Response

# Whoever waits as long as this is not stopped by the end of the calls, and fails at stop()'s deadline.
ENDLESS: Final = 600


# Each server is stopped in its own way; whether the mount's handler comes before its own or behind is all
# that a drain depends on (uvicorn, Daphne).
@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@asynccontextmanager
async def begun(session: RawSession, gate: str) -> AsyncIterator[tuple[Response, Event]]:
    """A call that has reported one step and waits at the gate."""
    call = session.tool_call("steps", {"gates": [gate]}, token="steps")
    async with session.post(call) as response:
        yield response, (await messages(response, 1))[0]


async def sent_away(response: Response) -> None:
    """The stream says when to come back, and ends as it should."""
    events = [event async for event in response.events()]
    assert response.finished and events, response.seen
    # A guide client is told on an event with data.
    assert events[-1].retry is not None and events[-1].data in (None, "{}"), events


async def turned_away(server: ServerProcess, session: RawSession) -> None:
    """New connections are answered, and told to come back. One that a stopping child has taken may break."""
    # A child that runs nothing is gone soon, and the other would by then have closed its socket.
    await asyncio.to_thread(wait_until, lambda: len(server.children) < CHILDREN, STOP_DEADLINE)
    while True:
        with suppress(OSError, EOFError):
            status, retry = await status_and_retry(session)
            if status == 503:
                assert retry is not None
                return


def stopping(server: ServerProcess) -> asyncio.Task[float]:
    return asyncio.create_task(asyncio.to_thread(server.stop))


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_streams_are_sent_away_and_a_running_call_finishes(
    kind: Kind, start_cluster: StartCluster, gates: Gates
) -> None:
    server = start_cluster(1, kind=kind, options={**PATIENT, "DRAIN_SECONDS": ENDLESS})[0]
    gate = gates.new()

    async def scenario() -> None:
        session = await RawSession.open(server.url)
        async with (
            session.get() as listening,
            guide_stream(server.url) as (page, _),
            begun(session, gate) as (running, _),
        ):
            stopped = stopping(server)
            await asyncio.gather(sent_away(listening), sent_away(page))
            if kind in ("daphne", "uvicorn-workers"):
                await turned_away(server, session)
            gates.open(gate)
            [result] = results(answers(await to_the_end(running)))
            assert result.startswith("done by")
            await stopped

    run(scenario())


def test_what_finished_during_the_drain_is_found_at_another_server(
    kind: Kind, start_cluster: StartCluster, gates: Gates
) -> None:
    """Nobody read the call's stream any more when its server was stopped."""
    server = start_cluster(1, kind=kind, options={**PATIENT, "DRAIN_SECONDS": ENDLESS})[0]
    other = start_cluster(1, options=PATIENT)[0]
    gate = gates.new()

    async def scenario() -> None:
        session = await RawSession.open(server.url)
        async with session.get() as listening, begun(session, gate) as (running, event):
            running.cut()
            stopped = stopping(server)
            await sent_away(listening)
            gates.open(gate)
            await stopped
        [result] = results(answers(await rest(through(session, other), event.id)))
        assert result.startswith("done by")

    run(scenario())


@either_way
def test_who_follows_a_call_of_another_server_is_sent_away_at_once(
    redis_url: str | None, start_cluster: StartCluster, gates: Gates
) -> None:
    """It is not this server's call: waiting for its end would only hold up the stop."""
    options = {**PATIENT, "DRAIN_SECONDS": ENDLESS}
    running_it, stopped = start_cluster(redis_url=redis_url, options=options).workers
    gate = gates.new()

    async def scenario() -> None:
        session = await RawSession.open(running_it.url)
        async with begun(session, gate) as (cut, event):
            cut.cut()
            async with through(session, stopped).get(event.id) as followed:
                assert followed.status == 200
                stop = stopping(stopped)
                await sent_away(followed)
                await stop
        gates.open(gate)
        assert len(results(answers(await rest(session, event.id)))) == 1

    run(scenario())


def test_a_call_that_takes_too_long_is_lost_and_says_so(
    kind: Kind, start_cluster: StartCluster, gates: Gates
) -> None:
    server = start_cluster(1, kind=kind, options={**PATIENT, "DRAIN_SECONDS": 1})[0]
    other = start_cluster(1, options=PATIENT)[0]

    async def scenario() -> None:
        session = await RawSession.open(server.url)
        never, there = gates.new(), through(session, other)
        async with begun(session, never) as (read, event), begun(session, never) as (unread, cut):
            unread.cut()
            await stopping(server)
            # The stream had its end before the server had, and everybody reads the same.
            ended = await to_the_end(read)
        assert reasons(answers(ended)) == lost(session.next_id - 1)
        assert same(await rest(there, event.id)) == same(ended)
        assert reasons(answers(await rest(there, cut.id))) == lost(session.next_id)

    run(scenario())


REQUESTS: Final = 12
"""More than the harness needs to see that the server is there."""


@pytest.mark.parametrize("kind", ["uvicorn", "gunicorn"])
def test_a_worker_that_stops_after_its_limit_of_requests_drains(
    kind: Kind, start_cluster: StartCluster, gates: Gates
) -> None:
    """Nobody sends it a signal."""
    limits = {
        "UVICORN_LIMIT_MAX_REQUESTS": str(REQUESTS),
        "GUNICORN_CMD_ARGS": f"--max-requests {REQUESTS}",
    }
    options = {**PATIENT, "DRAIN_SECONDS": ENDLESS}
    server = start_cluster(1, kind=kind, options=options, env=limits)[0]
    gate = gates.new()

    async def scenario() -> None:
        session = await RawSession.open(server.url)
        async with session.get() as listening, begun(session, gate) as (running, _):
            async with asyncio.TaskGroup() as group:
                sent = group.create_task(sent_away(listening))
                group.create_task(ping_until(session, sent))
            gates.open(gate)
            [result] = results(answers(await to_the_end(running)))
            assert result.startswith("done by")

    before = server.children
    run(scenario())
    if kind == "uvicorn":
        assert server.process is not None and server.process.wait(STOP_DEADLINE) == 0, server.log()
    else:
        assert wait_until(lambda: set(before) - set(server.children), STOP_DEADLINE), server.log()
    assert not server.tracebacks()


async def ping_until(session: RawSession, done: asyncio.Task[None]) -> None:
    """Whatever becomes of a ping: the worker may be about to stop."""
    while not done.done():
        with suppress(OSError, EOFError, AssertionError):
            await session.status_of_ping()
        await asyncio.sleep(0.01)
