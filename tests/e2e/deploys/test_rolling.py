"""A rolling restart under traffic: every call has its result, and has it once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final

from tests.e2e.deploys.conftest import PATIENT, StartCluster, either_way
from tests.e2e.deploys.reading import POLL_SECONDS, answers, results
from tests.harness.cluster import Cluster, through
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.sse import Event
from tests.harness.wire import ConnectionEnded, RawSession, Response

CLIENTS: Final = 4
FEWEST: Final = 12
MOST: Final = 400
"""Calls a client makes at least, and at most while the restarts go on."""
DURATIONS: Final = (0.1, 0.5, 0.2)
KINDS_OF_CALLS: Final = ("silent", "stream", "cut")
DEADLINE: Final = 240.0


@dataclass
class Client:
    """Calls one worker after the other, and goes to the next when one is not there."""

    cluster: Cluster
    session: RawSession
    turn: Iterator[ServerProcess]
    resumed: int = 0
    turned_away: int = 0
    answered: list[str] = field(default_factory=list)

    async def call(self, number: int) -> None:
        how = KINDS_OF_CALLS[number % 3]
        arguments = {"number": number, "seconds": DURATIONS[number // 3 % 3]}
        message = self.session.tool_call("work", arguments, token=None if how == "silent" else "work")
        found = await self._answers(message, how)
        assert [each["id"] for each in found] == [message["id"]], found
        self.answered += results(found)

    async def _answers(self, message: dict[str, Any], how: str) -> list[dict[str, Any]]:
        """Every response that came for the call, on whichever connection."""
        while True:
            async with AsyncExitStack() as stack:
                response = await self._begun(stack, message)
                if response is not None and response.headers["content-type"] == "application/json":
                    return [await response.json()]
                if response is not None:
                    return await self._followed(await read(response, 1 if how == "cut" else None))
            await asyncio.sleep(POLL_SECONDS)

    async def _begun(self, stack: AsyncExitStack, message: dict[str, Any]) -> Response | None:
        """The reply of the worker whose turn it is; None if it is not there, or is just going."""
        posting = through(self.session, next(self.turn)).post(message)
        with suppress(ConnectionError, ConnectionEnded):
            response = await stack.enter_async_context(posting)
            assert response.status in (200, 503), (response.status, await response.body())
            if response.status == 200:
                return response
        self.turned_away += 1
        return None

    async def _followed(self, events: list[Event]) -> list[dict[str, Any]]:
        """Read on at one worker after the other until the call is answered."""
        while not (found := answers(event for event in events if event.is_message)):
            last_event_id = next(event.id for event in reversed(events) if event.id)
            with suppress(ConnectionError, ConnectionEnded):
                async with through(self.session, next(self.turn)).get(last_event_id) as response:
                    assert response.status in (200, 503), (response.status, await response.body())
                    if response.status == 200:
                        self.resumed += 1
                        events += await read(response, None)
            await asyncio.sleep(POLL_SECONDS)
        ids = [event.id for event in events if event.is_message]
        assert len(ids) == len(set(ids)), ids
        return found


async def read(response: Response, count: int | None) -> list[Event]:
    """So many events, or all until the connection ends or breaks."""
    events: list[Event] = []
    with suppress(ConnectionError, ConnectionEnded):
        async for event in response.events():
            events.append(event)
            if len(events) == count:
                response.cut()
                break
    return events


@either_way
def test_a_rolling_restart_costs_no_call(start_cluster: StartCluster, redis_url: str | None) -> None:
    cluster = start_cluster(3, redis_url=redis_url, options=PATIENT)
    rolled = asyncio.Event()

    async def calling(client: Client) -> None:
        number = 0
        while number < MOST and (number < FEWEST or not rolled.is_set()):
            await client.call(number)
            number += 1
        assert client.answered == [f"done {each}" for each in range(number)]

    async def rolling() -> None:
        for worker in cluster.workers:
            await worker.restart_beside()
        rolled.set()

    async def scenario() -> None:
        clients = []
        for number in range(CLIENTS):
            turn = cycle(cluster.workers[number % 3 :] + cluster.workers[: number % 3])
            clients.append(Client(cluster, await RawSession.open(next(turn).url), turn))
        await asyncio.gather(rolling(), *map(calling, clients))
        assert all(client.resumed for client in clients)
        # The restarts were noticed, or this shows nothing.
        assert any(client.turned_away for client in clients)

    run(scenario(), DEADLINE)
