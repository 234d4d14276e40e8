"""The bench of operators' work does what it says, on a small scale."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from django.conf import settings

from tests.bench import world
from tests.harness.services import unavailable

ROOT: Final = Path(__file__).resolve().parent.parent
DEADLINE: Final = 600.0
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
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.operations", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = run.communicate(timeout=DEADLINE)
    assert run.returncode == 0, err[-2000:]
    rows = {name.strip(): (time, queries, said) for name, time, queries, said in ROW.findall(out)}
    for name, found in FOUND.items():
        assert re.fullmatch(found, rows[name][2]), (name, rows[name])
    assert re.fullmatch(r"\d+ calls: p50 .+, p90 .+, p99 .+", rows["calls during the purge"][2])
    purged = re.match(r"(\d+) sessions, .+ in (\d+) batch", rows["purge"][2])
    assert purged is not None and 100 < int(purged[1]) < 200
    assert all(re.fullmatch(r"[\d,.]+ m?s|-", time.strip()) for time, _, _ in list(rows.values())[2:])
    assert databases_of(run.pid) == []


def test_the_bench_of_a_flood() -> None:
    """Whether the other client is held up is for a machine to say that does nothing else."""
    amount = ["--requests", "60", "--half-open", "5", "--rate", "1000", "--calls", "5"]
    limits = ["--limits", json.dumps({"opening": "1/day, burst 20"})]
    command = [sys.executable, "-m", "tests.bench.security", *amount, *limits, "--markdown"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    rows = {name.strip(): said for name, _, _, said in ROW.findall(done.stdout)}
    assert rows["quiet"].strip() == "10 calls; all succeeded", done.stderr[-2000:]
    # The second client has opened one session; one process admits no more than its credit besides.
    found = re.search(
        r"; (\d+) times 200, (\d+) times 429", rows["under 60 junk requests, 5 silent connections"]
    )
    assert found is not None
    assert 20 <= int(found[1]) <= 22 and int(found[1]) + int(found[2]) == 60
    assert done.returncode in {0, 1} and "times the quiet one" in done.stdout


def databases_of(pid: int) -> list[str]:
    """Those that the process has left behind."""
    import psycopg

    with psycopg.connect(world.SERVER_URL) as connection:
        found = connection.execute("SELECT datname FROM pg_database")
        return [name for (name,) in found if name.startswith(f"mcp_sessions_bench_{pid}_")]
