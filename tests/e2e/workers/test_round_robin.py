"""Many sessions over several workers, whichever comes next: no call fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count

from tests.e2e.workers.conftest import StartCluster, every_mode
from tests.harness.cluster import Cluster, through
from tests.harness.running import run
from tests.harness.wire import RawSession, answer

SESSIONS, CALLS = 20, 12
AT_ONCE = 10


@every_mode
def test_no_call_fails_at_two_workers(cluster: Cluster) -> None:
    assert_no_call_fails(cluster)


def test_no_call_fails_at_four_workers(start_cluster: StartCluster) -> None:
    assert_no_call_fails(start_cluster(4))


def assert_no_call_fails(cluster: Cluster) -> None:
    served: Counter[int] = Counter()
    run(every_session(cluster, served))
    # Opening is a request as well, so the round is not exactly even.
    assert set(served) == {worker.pid for worker in cluster.workers}
    assert sum(served.values()) == SESSIONS * CALLS
    assert min(served.values()) > SESSIONS * CALLS // len(cluster) // 2


async def every_session(cluster: Cluster, served: Counter[int]) -> None:
    turn = count()
    some = asyncio.Semaphore(AT_ONCE)

    async def one_session(number: int) -> None:
        async with some:
            session = await RawSession.open(cluster[next(turn) % len(cluster)].url)
            for call in range(CALLS):
                at = through(session, cluster[next(turn) % len(cluster)])
                served[await echoed(at, f"{number}.{call}")] += 1

    await asyncio.gather(*(one_session(number) for number in range(SESSIONS)))


async def echoed(at: RawSession, text: str) -> int:
    """Call, on a connection of its own, and return the process that answered."""
    message = at.tool_call("echo", {"text": text})
    async with at.post(message) as response:
        assert response.status == 200, (response.status, await response.body())
        told = await answer(response)
    assert told["id"] == message["id"] and told["result"]["structuredContent"]["text"] == text, told
    return int(told["result"]["structuredContent"]["pid"])
