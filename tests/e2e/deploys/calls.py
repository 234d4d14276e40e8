"""Calls that run until their test lets them go on, and what becomes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from tests.e2e.deploys.reading import answers, beginning, messages, reasons, rest, results, same, steps, texts
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import through
from tests.harness.server import ServerProcess
from tests.harness.sse import Event
from tests.harness.wire import ConnectionEnded, RawSession, Response

WAS_LOST: Final = "was declared lost"
"""What a worker logs of itself when it finds out."""
DECLARED_LOST: Final = "declared lost"
"""What any worker logs of any."""


@asynccontextmanager
async def running(session: RawSession, gate: str, count: int) -> AsyncIterator[list[tuple[Response, Event]]]:
    """Calls that have reported a step each and wait at the gate."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            call = session.tool_call("steps", {"gates": [gate]}, token="steps")
            response = await stack.enter_async_context(session.post(call))
            found.append((response, (await messages(response, 1))[0]))
        yield found


async def whatever_comes(response: Response) -> list[Event]:
    """The messages until the connection ends, however it does."""
    found: list[Event] = []
    try:
        async for event in response.events():
            found += [event] if event.is_message else []
    except (ConnectionEnded, ConnectionError):
        pass
    return found


async def assert_serves(worker: ServerProcess, gates: Gates) -> None:
    """A call with a stream, its resumption, and a message on a GET stream."""
    session, gate = await RawSession.open(worker.url), gates.new()
    async with session.get() as listening, running(session, gate, 2) as ((whole, _), (cut, event)):
        cut.cut()
        gates.open(gate)
        assert len(results(answers(await whatever_comes(whole)))) == 1
        assert len(results(answers(await rest(session, event.id)))) == 1
        await session.call("say", {"texts": ["heard"]})
        assert texts(await messages(listening, 1)) == ["heard"]


async def assert_ended_once(
    session: RawSession, workers: list[ServerProcess], event: Event, told: list[Event]
) -> None:
    """A lost call's stream is the same everywhere, and what was heard of it before is nothing else."""
    whole = [await rest(through(session, worker), beginning(event)) for worker in workers]
    assert all(same(each) == same(whole[0]) for each in whole)
    assert steps(whole[0]) == [1] and len(whole[0]) == 2
    assert [reason for _, reason in reasons(answers(whole[0]))] == ["worker_lost"]
    assert same(told) in ([], same(whole[0][1:]))
