"""A soak of several server processes: nothing lost, nothing doubled, nothing hanging, all in order.

Simulated clients open sessions (the specification's, the guide's and those of 2024-11-05), call tools
one by one and in batches, answer questions, stop reading, are cut off and come back through other
workers, cancel, and end their sessions or let them expire, while workers are killed, restarted, paused
and stopped within transactions, and cut off from their database and from Redis. Each client knows what
it must see. At the end one table is printed; the exit status is 0 if nothing was violated, else 1.

The schedule is drawn from the seed alone: the same seed, clients, workers and steps give the same
digest. What a schedule meets on its way is real time, so a violation may need several runs.

    make soak SECONDS=120 SEED=7 WORKERS=3 CLIENTS=6 DATABASE=postgresql REDIS=1 BUSY=1 FAULT=dropped

DATABASE is postgresql, mariadb (of TEST_POSTGRES_URL, TEST_MARIADB_URL, else of this machine) or
sqlite. STORE=redis keeps the sessions in a Redis of the soak's own. REDIS=1 notifies workers over
TEST_REDIS_URL, else this machine's. BUSY=1 keeps every core busy besides. CALM=1 leaves the workers
and their services alone. FAULT (dropped, doubled, reordered, reply-lost) falsifies what the clients
see or send, to show that it is found.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.harness.cluster import Cluster
from tests.soak.drawing import draw
from tests.soak.options import parse
from tests.soak.soak import run, run_on


def main(arguments: Sequence[str] | None = None, workers: Cluster | None = None) -> int:
    """On workers that run already, or on its own."""
    options = parse(arguments, __doc__ or "")
    schedule = draw(options)
    folder = Path(tempfile.mkdtemp(prefix="mcp-sessions-soak-"))
    bells = "a channel layer on Redis" if options.redis else "polling"
    print(f"seed {options.seed}, schedule {schedule.digest}: {options.clients} clients with {options.steps}")
    kept = f"{options.database} (sessions in {options.store})"
    print(f"steps, {options.workers} workers on {kept} and {bells}", end="")
    print(f"{', all cores busy' if options.is_busy else ''}; logs in {folder}", flush=True)
    report = run_on(workers, options, schedule, folder) if workers else run(options, schedule, folder)
    print(report)
    if not report.exit_code:
        shutil.rmtree(folder)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
