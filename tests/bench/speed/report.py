"""docs/performance.md: the tables between its marks, with versions and conditions, and the charts."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psycopg

from tests.bench.speed.charts import Line, chart
from tests.bench.speed.loads import Load
from tests.bench.speed.measured import HEAD, Measured, cost, p99, rate
from tests.bench.speed.rows import ROWS
from tests.harness.services import POSTGRES

DOCS: Final = Path(__file__).resolve().parents[3] / "docs"
PAGE: Final = DOCS / "performance.md"
BEGIN: Final = "<!-- make bench: begin -->"
END: Final = "<!-- make bench: end -->"
PACKAGES: Final = ("mcp", "Django", "psycopg", "uvicorn", "httptools", "uvloop", "pydantic")


def write(found: Sequence[Measured], rounds: int) -> None:
    told = [conditions(rounds), table(found), *memory(found), *missing(found), *charts(found)]
    between = "\n\n".join([BEGIN, *told, END])
    page = re.sub(
        f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: between, PAGE.read_text(), flags=re.DOTALL
    )
    PAGE.write_text(page)


def conditions(rounds: int) -> str:
    with psycopg.connect(POSTGRES) as connection:
        database = f"PostgreSQL {connection.info.server_version // 10000}"
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    machine = ", ".join(
        [f"Python {platform.python_version()}", *packages, database, f"{os.cpu_count()} cores"]
    )
    figures = f"Each figure is the median of {rounds} alternating rounds. The spread is that of the ratios."
    return f"{machine}. {figures}"


def table(found: Iterable[Measured]) -> str:
    rows = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *(each.cells for each in found)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def memory(found: Iterable[Measured]) -> list[str]:
    told = [f"With {each.number:,} streams: {each.memory}." for each in found if each.memory]
    return ["Memory. " + " ".join(told)] if told else []


def missing(found: Iterable[Measured]) -> list[str]:
    """The rows that have no figures."""
    measured = {each.row.name for each in found}
    titles = [f"`{row.name}` ({row.title})" for row in ROWS if row.name not in measured]
    return [f"Not measured in this run: {', '.join(titles)}."] if titles else []


def charts(found: Sequence[Measured]) -> list[str]:
    """Of what was measured with more than one number of connections or sessions."""
    return [*_charts_of_calls(found), *_chart_of_growth(found)]


def _chart_of_growth(found: Iterable[Measured]) -> list[str]:
    growth = [each for each in found if each.row.name == "sessions"]
    if len(growth) < 2:
        return []
    own = Line("mcp_sessions", [(each.number, cost(each.own) * 1e6) for each in growth])
    first = Line("with 1,000", [(each.number, cost(each.other) * 1e6) for each in growth])
    title = "CPU of a call in µs"
    (DOCS / "images" / "bench-sessions.svg").write_text(chart(title, "sessions in the table", [own, first]))
    return [f"![{title}, against the number of sessions](images/bench-sessions.svg)"]


def _charts_of_calls(found: Iterable[Measured]) -> list[str]:
    calls = [each for each in found if each.row.name == "echo"]
    if len(calls) < 2:
        return []
    kinds: list[tuple[str, str, Callable[[Sequence[Load]], float]]] = [
        ("throughput", "calls a second", rate),
        ("latency", "99 of 100 calls are answered within so many ms", lambda side: p99(side) * 1000),
    ]
    told = []
    for name, title, figure in kinds:
        own = Line("mcp_sessions", [(each.number, figure(each.own)) for each in calls])
        other = Line("SDK", [(each.number, figure(each.other)) for each in calls])
        (DOCS / "images" / f"bench-{name}.svg").write_text(chart(title, "connections", [own, other]))
        told.append(f"![{title}, against the number of connections](images/bench-{name}.svg)")
    return told
