"""The app beside the official SDK, in turns.

    make bench                        # everything
    make bench ARGS="echo opening"    # some rows
    make bench MARKDOWN=1             # writes the tables and charts of docs/performance.md, too

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
    print(" | ".join(HEAD), flush=True)
    served = groupby(chosen(options.rows), key=lambda row: (row.sides, row.name if row.is_apart else ""))
    found = [each for _, rows in served for each in measure(list(rows), options)]
    if options.markdown:
        write(found, options.rounds)
    missed = [each for each in found if not each.is_reached]
    print(f"{len(found) - len(missed)} of {len(found)} reach what they must.")
    return 0


def chosen(names: Sequence[str]) -> Iterator[Row]:
    if unknown := set(names) - {row.name for row in ROWS}:
        raise SystemExit(f"There is no row {min(unknown)!r}.")
    yield from (row for row in ROWS if not names or row.name in names)


def measure(rows: Sequence[Row], options: Any) -> Iterator[Measured]:
    """What came of rows with the same sides, for each number of connections, as soon as it is known."""
    with ExitStack() as stack:
        own, other = (stack.enter_context(serving(side)) for side in rows[0].sides(Places(stack)))
        for row, number in ((each, number) for each in rows for number in options.numbers or each.numbers):
            rounds = range(row.rounds or options.rounds)
            pairs = [compare(row, own, other, number, options.seconds) for _ in rounds]
            measured = Measured(row, number, *(list(side) for side in zip(*pairs, strict=True)))
            print(" | ".join(measured.cells), measured.memory, flush=True)
            yield measured


def compare(row: Row, own: Server, other: Server, number: int, seconds: float) -> tuple[Load, Load]:
    """One round: first the one, then the other."""
    return run(row.run(own, number, seconds)), run((row.against or row.run)(other, number, seconds))


def run(load: Coroutine[Any, Any, Load]) -> Load:
    return uvloop.run(load)


def parse(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.speed", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="of each load, after one that does not count"
    )
    parser.add_argument(
        "--numbers", type=int, nargs="*", help="of connections or streams, in place of a row's own"
    )
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
