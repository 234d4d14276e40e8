"""A soak from its beginning to its report."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mcp_sessions.conf import option_names
from tests.harness.cluster import Cluster
from tests.harness.databases import SQLiteTemplate, postgres_database
from tests.soak.chaos import Chaos
from tests.soak.client import run_client
from tests.soak.faults import Faults
from tests.soak.model import Kind, Violation
from tests.soak.options import SETTINGS, Options
from tests.soak.outside import outside
from tests.soak.report import Report
from tests.soak.scene import Scene
from tests.soak.schedule import Schedule

SERVER: Final = "tests.soak.server:server"
POSTGRES: Final = "postgresql://postgres@127.0.0.1:5432/postgres"
REDIS: Final = "redis://127.0.0.1:6379/9"


@contextmanager
def database(options: Options, folder: Path) -> Iterator[str]:
    """The URL of a fresh one, which goes with the soak."""
    if options.database == "sqlite":
        yield SQLiteTemplate(folder).copy()
    else:
        with postgres_database(os.environ.get("TEST_POSTGRES_URL", POSTGRES)) as url:
            yield url


def cluster(options: Options, folder: Path, database_url: str) -> Cluster:
    return Cluster(
        folder,
        options.workers,
        database_url=database_url,
        redis_url=os.environ.get("TEST_REDIS_URL", REDIS) if options.redis else None,
        options={name: value for name, value in SETTINGS.items() if name in option_names()},
        server=SERVER,
    )


async def soak(options: Options, schedule: Schedule, workers: Cluster, folder: Path) -> Report:
    """The clients and what befalls their workers, until all of it is over."""
    with (folder / "outside.log").open("ab") as log, (folder / "clients.log").open("a") as diary:
        async with outside(workers[0].env, log) as sender:
            scene = Scene(options, workers.workers, sender, Faults(options.fault), diary)
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


def run_on(workers: Cluster, options: Options, schedule: Schedule, folder: Path) -> Report:
    return asyncio.run(soak(options, schedule, workers, folder))


def run(options: Options, schedule: Schedule, folder: Path) -> Report:
    """A soak on a database and workers of its own."""
    with database(options, folder) as url:
        workers = cluster(options, folder, url)
        workers.start()
        try:
            report = run_on(workers, options, schedule, folder)
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
