"""A soak from its beginning to its report."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.harness.cluster import Cluster
from tests.harness.gate import Gate
from tests.soak.chaos import Chaos
from tests.soak.client import run_client
from tests.soak.faults import Faults
from tests.soak.model import Kind, Violation
from tests.soak.options import Options
from tests.soak.outside import outside
from tests.soak.report import Report
from tests.soak.scene import Scene
from tests.soak.schedule import Schedule
from tests.soak.services import cluster, past_the_gates, services

Gates = tuple[Gate, ...]


async def soak(
    options: Options, schedule: Schedule, workers: Cluster, folder: Path, gates: Gates = ()
) -> Report:
    """The clients and what befalls their workers, until all of it is over."""
    with (folder / "outside.log").open("ab") as log, (folder / "clients.log").open("a") as diary:
        async with outside(past_the_gates(workers[0].env, gates), log) as sender:
            scene = Scene(options, workers.workers, gates, sender, Faults(options.fault), diary)
            await _play(scene, schedule)
    return Report(scene.tally, scene.violations)


async def _play(scene: Scene, schedule: Schedule) -> None:
    async with asyncio.TaskGroup() as playing:
        closing = playing.create_task(_close(scene))
        playing.create_task(Chaos(scene).run(schedule.troubles))
        clients = [
            playing.create_task(run_client(scene, number, lives))
            for number, lives in enumerate(schedule.clients)
        ]
        await asyncio.wait(clients)
        scene.is_closing.set()
        closing.cancel()


async def _close(scene: Scene) -> None:
    """After its time nothing new is begun."""
    if scene.options.seconds is not None:
        await asyncio.sleep(scene.options.seconds)
        scene.is_closing.set()


def run_on(workers: Cluster, options: Options, schedule: Schedule, folder: Path, gates: Gates = ()) -> Report:
    return asyncio.run(soak(options, schedule, workers, folder, gates))


def run(options: Options, schedule: Schedule, folder: Path) -> Report:
    """A soak on services and workers of its own."""
    with services(options, folder) as needed:
        workers = cluster(options, folder, needed)
        workers.start()
        try:
            report = run_on(workers, options, schedule, folder, needed.gates)
        except BaseException:
            with suppress(AssertionError):
                workers.end()
            raise
        return Report(report.tally, [*report.violations, *_end(workers)])


def _end(workers: Cluster) -> Iterator[Violation]:
    """Stop the workers; what stands in their logs was seen by no client."""
    try:
        workers.end()
    except AssertionError as error:
        found = [each for worker in workers.workers for each in worker.tracebacks()]
        # One of each kind: the last line says which.
        kinds = {each.rstrip().rpartition("\n")[2]: each for each in found}
        for each in kinds.values() if kinds else [str(error)]:
            yield Violation(Kind.WRONG, "a worker's log", each)
