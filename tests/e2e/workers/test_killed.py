"""A worker is killed, and those who are left tell of what it had open, and hold nothing up for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.e2e.hearing import Heard, heard
from tests.e2e.test_guide_dialect import guide_session
from tests.e2e.workers.conftest import StartCluster, both_stores, signals_of
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import guide_stream, next_named, text_of
from tests.e2e.workers.test_signals import all_is_told, until
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession

pytestmark = both_stores


def test_what_a_killed_worker_had_open(start_cluster: StartCluster, gates: Gates) -> None:
    """Its connections are told of once, by its heir; and its streams keep no session from being idle."""
    lost, *left = start_cluster(3, WORKER_TIMEOUT=12).workers
    signals = signals_of(gates)

    async def scenario() -> None:
        idle = await RawSession.open(lost.at("/idle").url)
        idle_key = text_of(await idle.call("session_key"))
        async with idle.get(), guide_session(lost) as guide, guide_stream(guide, left[0]) as stays:
            key = text_of(await guide.call("session_key", {}))
            await until(signals, key, lambda found: len(openings(found)) == 2)
            # Each worker writes when it comes to it: not in the order in which the streams were opened.
            stream_at = {each.pid: each.stream for each in openings(heard(signals, key))}
            gone, kept = stream_at[lost.pid], stream_at[left[0].pid]
            await asyncio.to_thread(lost.kill)
            for each in (key, idle_key):
                await until(signals, each, lambda found: bool(closings(found)))
            await until_over(left[0], idle_key)
            await RawSession(left[0].url, guide.session_id).call(
                "announce", {"event": "note", "text": "hello"}
            )
            assert (await next_named(stays)).event == "note"
            await all_is_told(left, signals)
            told = closings(heard(signals, key))
            assert [(each.stream, each.reason) for each in told] == [(gone, "lost")] and gone != kept
        assert [each.reason for each in closings(heard(signals, idle_key))] == ["lost"]
        assert {each.pid for each in told} <= {worker.pid for worker in left}
        for worker in left:
            assert await through(idle, worker.at("/idle")).status_of_ping() == 404

    run(scenario())


def openings(found: Sequence[Heard]) -> list[Heard]:
    return [each for each in found if each.name == "connection_opened"]


def closings(found: Sequence[Heard]) -> list[Heard]:
    return [each for each in found if each.name == "connection_closed"]


async def until_over(worker: ServerProcess, key: str) -> None:
    """Wait until the session lives no more; looked at from another one, and so not used by that."""
    session = await RawSession.open(worker.url)
    while (await session.call("is_live", {"key": key}))["result"]["structuredContent"]["result"]:
        await asyncio.sleep(0.5)
