"""One worker alone cannot reach the database: it is declared lost, and finds that out when it is back."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.e2e.deploys.calls import WAS_LOST, assert_ended_once, assert_serves, running, whatever_comes
from tests.e2e.deploys.conftest import StartCluster
from tests.e2e.deploys.reading import answers, logged, messages, reasons, rest, served_again, texts
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import through
from tests.harness.gate import Gate
from tests.harness.running import run
from tests.harness.wire import RawSession

CALLS: Final = 10


def test_a_worker_that_was_cut_off_ends_no_call_a_second_time(
    database_gate: Gate, start_cluster: StartCluster, redis_url: str | None, gates: Gates
) -> None:
    [cut_off] = start_cluster(1, database_url=database_gate.url, redis_url=redis_url).workers
    [other] = start_cluster(1, redis_url=redis_url).workers
    gate = gates.new()

    async def scenario() -> None:
        session = await RawSession.open(cut_off.url)
        async with session.get() as listening, running(session, gate, CALLS) as calls:
            await session.call("say", {"texts": ["before"]})
            heard = await messages(listening, 1)
            database_gate.close()
            event = calls[0][1]
            [(_, reason)] = reasons(answers(await rest(through(session, other), event.id)))
            assert reason == "worker_lost"
            await through(session, other).call("say", {"texts": ["meanwhile"]})
            # The results are there before the database is, and wait with their worker.
            gates.open(gate)
            database_gate.open()
            told = await asyncio.gather(*(whatever_comes(response) for response, _ in calls))
            await logged(cut_off, WAS_LOST)
            await served_again(session)
            for (_, first), events in zip(calls, told, strict=True):
                await assert_ended_once(session, [cut_off, other], first, events)
            heard += await whatever_comes(listening)
        async with session.get(heard[-1].id) as again:
            heard += await messages(again, 2 - len(heard))
        assert texts(heard) == ["before", "meanwhile"]
        await assert_serves(cut_off, gates)

    run(scenario())
