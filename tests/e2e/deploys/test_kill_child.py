"""A manager's child is killed: the manager starts another, and the calls of the dead one end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.deploys.conftest import StartCluster
from tests.e2e.deploys.reading import answers, lost, messages, reasons, rest, results, steps
from tests.e2e.workers.gates import Gates
from tests.harness.running import run
from tests.harness.server import MANAGED_KINDS, Kind
from tests.harness.sse import Event
from tests.harness.wire import RawSession

CALLS = 6


@dataclass
class Placed:
    """A call, and the process that it runs in."""

    id: Any
    event: Event
    pid: int


async def placed(stack: AsyncExitStack, session: RawSession, gate: str) -> Placed:
    call = session.tool_call("hold", {"gate": gate}, token="hold")
    response = await stack.enter_async_context(session.post(call))
    [event] = await messages(response, 1)
    return Placed(call["id"], event, int(steps([event])[0]))


@pytest.mark.parametrize("kind", MANAGED_KINDS)
def test_a_killed_child_takes_no_other_call_with_it(
    kind: Kind, start_cluster: StartCluster, gates: Gates
) -> None:
    [server] = start_cluster(1, kind=kind).workers
    gate = gates.new()

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            session = await RawSession.open(server.url)
            calls = [await placed(stack, session, gate) for _ in range(CALLS)]
            victim = calls[0].pid
            await asyncio.to_thread(server.kill_child, victim)
            for each in (each for each in calls if each.pid == victim):
                assert reasons(answers(await rest(session, each.event.id))) == lost(each.id)
            gates.open(gate)
            for each in (each for each in calls if each.pid != victim):
                [result] = results(answers(await rest(session, each.event.id)))
                assert result == f"done by {each.pid}"

    run(scenario())
