"""Edits of one session's data from several processes, on every store."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from tests.e2e.workers.conftest import StartCluster, both_stores, on
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import Cluster, through
from tests.harness.running import run
from tests.harness.wire import ConnectionEnded, RawSession

PATH: Final = "/edits"
EDITS: Final = 100
HOURS: Final = 3600
"""An EDIT_TIMEOUT that no test outlives."""


def text(answer: dict[str, Any]) -> str:
    assert not answer["result"].get("isError"), answer
    found: str = answer["result"]["content"][0]["text"]
    return found


@on("sqlite", "postgresql", "mariadb", "redis")
def test_a_hundred_increments_at_once_keep_a_hundred(cluster: Cluster) -> None:
    """By coroutines and by synchronous tools, each of which looks away while it edits."""

    async def scenario() -> None:
        session = await RawSession.open(cluster[0].at(PATH).url)
        at = [through(session, worker.at(PATH)) for worker in cluster.workers]
        calls = (
            at[number % len(at)].call("increment" if number % 3 else "increment_in_thread")
            for number in range(EDITS)
        )
        pids = {text(answer) for answer in await asyncio.gather(*calls)}
        assert len(pids) == len(cluster)
        assert {text(await each.call("counted")) for each in at} == {str(EDITS)}

    run(scenario())


@both_stores
def test_what_a_killed_worker_edits_is_free_soon(start_cluster: StartCluster, gates: Gates) -> None:
    """After the lease, and not only after EDIT_TIMEOUT. Until then it can be read."""

    async def scenario() -> None:
        session, gate = await RawSession.open(doomed.at(PATH).url), gates.new()
        elsewhere = through(session, other.at(PATH))
        await elsewhere.call("increment")
        holding = asyncio.create_task(session.call("hold", {"gate": gate}))
        await gates.noted(gate, "inside")
        assert text(await elsewhere.call("counted")) == "1"
        await asyncio.to_thread(doomed.kill)
        with pytest.raises((ConnectionEnded, OSError)):
            await holding
        await elsewhere.call("increment")
        assert text(await elsewhere.call("counted")) == "2"

    doomed, other = start_cluster(EDIT_TIMEOUT=HOURS).workers
    run(scenario())
