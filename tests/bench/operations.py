"""What operators' work costs with many sessions: pages, figures, commands, and a purge.

    make bench-operations SESSIONS=1000000 KEEP=1 MARKDOWN=1

It makes a database of its own on the PostgreSQL server of TEST_POSTGRES_URL (else this machine's), and
drops it at the end unless it is told to keep it. What it prints is the table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import django
from django.core.management import call_command
from django.utils import timezone

from tests.bench import world
from tests.bench.table import Row, Table, seconds

HEAD: Final[Row] = ("what", "time", "queries", "what came of it")
CALM_SECONDS: Final = 20.0
RUNS: Final = 5


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    with world.new_database(keep=options.keep) as url:
        os.environ.update(DATABASE_URL=url, DJANGO_SETTINGS_MODULE="tests.bench.settings")
        django.setup()
        table = Table(HEAD, markdown=options.markdown)
        for row in measured(options, url):
            table.add(row)
        if options.keep:
            print(f"The database is kept: {url}", file=sys.stderr)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.bench.operations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--sessions", type=int, default=1_000_000, help="how many there are (default: 1000000)")
    add("--calm", type=float, default=CALM_SECONDS, help="seconds of calls without a purge (default: 20)")
    add("--runs", type=int, default=RUNS, help="of each step, at most; the median counts (default: 5)")
    add("--keep", action="store_true", help="leave the database there, and say its name")
    add("--markdown", action="store_true", help="the table as documents have it")
    return parser.parse_args(arguments)


def measured(options: argparse.Namespace, url: str) -> Iterator[Row]:
    """Every row of the table, as soon as it is there."""
    # Late: these need Django to be set up for the new database.
    from tests.bench import figures, pages, purging
    from tests.bench.measuring import Queries, measure

    queries, now = Queries(), timezone.now()
    yield _filled(options.sessions, now)
    for step in figures.counting():
        yield measure(step, queries, options.runs).row
    world.add_hours_before(now)
    world.settle()
    for step in [*figures.steps(), *pages.steps()]:
        yield measure(step, queries, options.runs).row
    yield from purging.rows(url, options.calm)
    for step in figures.afterwards():
        yield measure(step, queries, options.runs).row


def _filled(sessions: int, now: datetime) -> Row:
    began = time.perf_counter()
    call_command("migrate", verbosity=0)
    world.fill(sessions, now)
    world.settle()
    return "(filling the database)", seconds(time.perf_counter() - began), "", f"{sessions:,} sessions"


if __name__ == "__main__":
    sys.exit(main())
