"""RATE_LIMITS hold over all workers, and who floods them holds up nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.bench.flood import half_open, junk
from tests.e2e.workers.conftest import StartCluster, both_stores
from tests.harness.cluster import Cluster
from tests.harness.running import run
from tests.harness.wire import RawSession

BURST, REQUESTS, HALF_OPEN = 40, 400, 50
CREDIT = BURST // 10
"""What one process may admit beyond the limit."""
FLOODER = "127.0.0.2"
LIMITS = {"RATE_LIMITS": {"opening": f"1/day, burst {BURST}"}, "MAX_SESSIONS_PER_CLIENT": None}


@pytest.fixture
def limited(start_cluster: StartCluster) -> Cluster:
    return start_cluster(**LIMITS)


@both_stores
def test_a_flood_from_one_address_is_refused_by_all_workers_together(limited: Cluster) -> None:
    """While half of its connections say nothing at all, every call of another client succeeds."""

    async def scenario() -> None:
        sessions = [await RawSession.open(worker.url) for worker in limited.workers]
        with ExitStack() as stack:
            for worker in limited.workers:
                stack.enter_context(half_open(worker.port, HALF_OPEN, FLOODER))
            floods = [
                asyncio.create_task(junk(worker.url, REQUESTS // 2, FLOODER, connections=8))
                for worker in limited.workers
            ]
            calls = 0
            while not all(each.done() for each in floods):
                for session in sessions:
                    assert await session.status_of_ping() == 200
                    calls += 1
        assert calls > 0
        statuses = sum((each.result() for each in floods), Counter[int]())
        assert set(statuses) == {200, 429}
        assert BURST <= statuses[200] <= BURST + CREDIT * len(limited)

    run(scenario())
