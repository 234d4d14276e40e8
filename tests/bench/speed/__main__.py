"""The app beside the official SDK, in turns.

    make bench                                  # everything, and writes docs/performance.md
    make bench ARGS="echo opening"              # some rows, which are printed
    make bench ARGS="echo opening" MARKDOWN=1   # and written; the page says which rows are missing

Each side is one process on a core of its own. Both are loaded one after the other, round by round. Every
answer is checked, and a wrong one ends the bench.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import Any

import uvloop

from tests.bench.speed.loads import Load
from tests.bench.speed.measured import HEAD, Measured
from tests.bench.speed.places import Places
from tests.bench.speed.report import write
from tests.bench.speed.rows import ROWS, Row
from tests.bench.speed.sides import Server, pin_myself, serving


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each stream is a file, here and there
    pin_myself()
    rows = list(chosen(options.rows))
    print(f"{len(rows)} rows, {time_of(rows, options) / 60:.0f} minutes on an idle machine", flush=True)
    print(" | ".join(HEAD), flush=True)
    found: list[Measured] = []
    for _, each in groupby(rows, key=lambda row: (row.sides, row.name if row.is_apart else "")):
        together = list(each)
        found += measure(together, options)
        rows = rows[len(together) :]
        print(f"   {len(rows)} rows to go, {time_of(rows, options) / 60:.0f} minutes", flush=True)
    if options.markdown or not options.rows:
        write(found, options.rounds)
    missed = [each for each in found if not each.is_reached]
    print(f"{len(found) - len(missed)} of {len(found)} reach what they must.")
    return 0


def chosen(names: Sequence[str]) -> Iterator[Row]:
    if unknown := set(names) - {row.name for row in ROWS}:
        raise SystemExit(f"There is no row {min(unknown)!r}.")
    yield from (row for row in ROWS if not names or row.name in names)


def time_of(rows: Sequence[Row], options: Any) -> float:
    return sum(row.bound(options.rounds, options.seconds) for row in rows)


def measure(rows: Sequence[Row], options: Any) -> Iterator[Measured]:
    """What came of rows with the same sides, for each number of connections, as soon as it is known."""
    with ExitStack() as stack:
        own, *other = (stack.enter_context(serving(side)) for side in rows[0].sides(Places(stack)))
        for row, number in ((each, number) for each in rows for number in options.numbers or each.numbers):
            rounds = range(row.rounds or options.rounds)
            pairs = [compare(row, own, other, number, options.seconds) for _ in rounds]
            sides = [[pair[side] for pair in pairs] for side in range(len(pairs[0]))]
            measured = Measured(row, number, *sides)
            print(" | ".join(measured.cells), measured.memory, flush=True)
            yield measured


def compare(row: Row, own: Server, other: Sequence[Server], number: int, seconds: float) -> list[Load]:
    """One round: first the one, then the other, if there is one."""
    against = row.against or row.run
    return [run(row.run(own, number, seconds)), *(run(against(each, number, seconds)) for each in other)]


def run(load: Coroutine[Any, Any, Load]) -> Load:
    return uvloop.run(load)


def parse(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.speed", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=1.25, help="of each load, after one that does not count"
    )
    parser.add_argument(
        "--numbers", type=int, nargs="*", help="of connections or streams, in place of a row's own"
    )
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
