"""The benches do what they say, on a small scale."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest
from django.conf import settings

from tests.bench import world
from tests.bench.speed import report
from tests.bench.speed.client import answered
from tests.bench.speed.loads import Load
from tests.bench.speed.measured import Measured
from tests.bench.speed.rows import ROWS
from tests.bench.speed.sides import Spent
from tests.bench.speed.wire import Response, Wrong
from tests.harness import forking
from tests.harness.server import environment
from tests.harness.services import unavailable

DEADLINE: Final = 240.0
ROW: Final = re.compile(r"^\| (.+?) \| +(.+?) \| +(.*?) \| (.*?) *\|$", re.MULTILINE)

FOUND: Final = {
    "list: all": "300 found",
    "search: key": "1 found",
    "search: nothing like it": "0 found",
    "session_stats, a week": "300 opened",
    "counting all hours (aroll_up)": "(29|30) hours",
}


def test_every_row_of_the_bench_is_measured() -> None:
    if "postgres" not in settings.DATABASES:
        unavailable("no PostgreSQL answers")
    arguments = ["--sessions", "300", "--calm", "0.5", "--runs", "1", "--markdown"]
    done = run("operations", *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {name.strip(): (time, queries, said) for name, time, queries, said in ROW.findall(done.stdout)}
    for name, found in FOUND.items():
        assert re.fullmatch(found, rows[name][2]), (name, rows[name])
    assert re.fullmatch(r"\d+ calls: p50 .+, p90 .+, p99 .+", rows["calls during the purge"][2])
    purged = re.match(r"(\d+) sessions, .+ in (\d+) batch", rows["purge"][2])
    assert purged is not None and 100 < int(purged[1]) < 200
    assert all(re.fullmatch(r"[\d,.]+ m?s|-", time.strip()) for time, _, _ in list(rows.values())[2:])
    assert databases_of(done.pid) == []


def test_the_bench_of_a_flood() -> None:
    """Whether the other client is held up is for a machine to say that does nothing else."""
    amount = ["--requests", "60", "--half-open", "5", "--rate", "1000", "--calls", "5"]
    limits = ["--limits", json.dumps({"opening": "1/day, burst 20"})]
    done = run("security", *amount, *limits, "--markdown")
    rows = {name.strip(): said for name, _, _, said in ROW.findall(done.stdout)}
    assert rows["quiet"].strip() == "10 calls; all succeeded", done.stderr[-2000:]
    # The second client has opened one session; one process admits no more than its credit besides.
    found = re.search(
        r"; (\d+) times 200, (\d+) times 429", rows["under 60 junk requests, 5 silent connections"]
    )
    assert found is not None
    assert 20 <= int(found[1]) <= 22 and int(found[1]) + int(found[2]) == 60
    assert done.returncode in {0, 1} and "times the quiet one" in done.stdout
    assert re.search(r"CPU of a call: \d+ µs anonymous, \d+ µs with a JWT", done.stdout)
    assert re.search(r"A JWT adds -?\d+ µs, and may add 150\.", done.stdout)


def test_the_bench_beside_the_sdk() -> None:
    """Which of them is faster is for a machine to say that does nothing else."""
    amount = ["--rounds", "1", "--seconds", "0.05", "--numbers", "2"]
    done = run("speed", "sqlite", *amount)
    assert done.returncode == 0, done.stderr[-2000:]
    plan, head, row, left, said = done.stdout.splitlines()
    assert plan.startswith("1 rows, ") and left.strip().startswith("0 rows to go, ")
    assert row.startswith("tools/call, on SQLite | 2 connections | ")
    assert row.count("|") == head.count("|")
    assert said in {"1 of 1 reach what they must.", "0 of 1 reach what they must."}


def test_an_answer_that_is_none_ends_the_bench() -> None:
    for wrong in (b"{}", b'{"id": 7, "error": {"code": 1}}', b'{"id": 8, "result": {"content": []}}'):
        with pytest.raises(Wrong):
            answered(Response(200, {"content-type": "application/json"}, wrong), 7)
    sent = Response(
        200, {"content-type": "text/event-stream"}, b'event: message\r\ndata: {"id": 7, "result": 1}\r\n\r\n'
    )
    assert answered(sent, 7) == ([], 1)


def test_the_page_has_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCS", "PAGE"):
        monkeypatch.setattr(report, name, tmp_path / ("" if name == "DOCS" else "performance.md"))
    monkeypatch.setattr(report, "conditions", lambda rounds: f"{rounds} rounds")
    (tmp_path / "images").mkdir()
    report.PAGE.write_text(f"before\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n")
    row = next(row for row in ROWS if row.name == "echo")
    slow, quick = Load([0.2] * 5, 1, Spent(0.1, 0.1)), Load([0.1] * 10, 1, Spent(0.1, 0))
    report.write([Measured(row, number, [quick], [slow]) for number in (1, 16)], 1)
    page = report.PAGE.read_text()
    assert page.startswith("before\n\n") and page.endswith("\n\nafter\n") and "old" not in page
    assert (
        "| tools/call | 16 connections | 10/s | 5/s | 2.00 | 2.00 to 2.00 | 2.5 | 0.50 | 10,000 µs | 0.25 |"
        in page
    )
    assert "images/bench-latency.svg" in page
    for name in ("throughput", "latency"):
        ElementTree.fromstring((tmp_path / "images" / f"bench-{name}.svg").read_text())


def run(bench: str, *arguments: str) -> forking.Ran:
    return forking.run(["-m", f"tests.bench.{bench}", *arguments], env=environment({}), timeout=DEADLINE)


def databases_of(pid: int) -> list[str]:
    """Those that the process has left behind."""
    import psycopg

    with psycopg.connect(world.SERVER_URL) as connection:
        found = connection.execute("SELECT datname FROM pg_database")
        return [name for (name,) in found if name.startswith(f"mcp_sessions_bench_{pid}_")]
