"""What a flood from one address does to another client's calls, and what a token adds to a call.

    make bench-security REQUESTS=10000 HALF_OPEN=1000 RATE=500

A server of one process and a database of its own. The flood is a process of its own, from another address of
this machine: connections that fall silent in the middle of a request, and junk `initialize` requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mcp_sessions.conf import AppSettings
from tests.bench import tokens
from tests.bench.flood import half_open, junk
from tests.bench.table import Row, Table, seconds
from tests.harness.databases import SQLiteTemplate
from tests.harness.issuer import running
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession

HEAD: Final[Row] = ("calls of the second client", "median", "p99", "what came of it")
SERVER: Final = "tests.e2e.servers.bench:server"
FLOODER: Final = "127.0.0.2"
CONNECTIONS: Final = 16
PAUSE_SECONDS: Final = 0.02
ENOUGH: Final = 2.0
"""Times the quiet latency."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.flood:
        statuses = asyncio.run(
            junk(options.flood, options.requests, FLOODER, connections=CONNECTIONS, per_second=options.rate)
        )
        print(json.dumps(statuses))
        return 0
    # Each silent connection is a file for this process and for the server.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, options.half_open + 4096), hard))
    with tempfile.TemporaryDirectory() as folder:
        return measure(options, Path(folder))


def measure(options: Any, folder: Path) -> int:
    limits = AppSettings.RATE_LIMITS.default if options.limits is None else json.loads(options.limits)
    with running() as issuer:
        settings = {"RATE_LIMITS": limits, "SERVERS": tokens.endpoint(issuer, SERVER)}
        env = {"E2E_MCP_SESSIONS": json.dumps(settings), "DEBUG": "0"}
        server = ServerProcess(folder, database_url=SQLiteTemplate(folder).copy(), server=SERVER, env=env)
        with server:
            quiet, flooded, statuses = asyncio.run(compare(server, options))
        # Without rate limits: these calls come faster than any client's.
        env["E2E_MCP_SESSIONS"] = json.dumps({**settings, "RATE_LIMITS": {}})
        server = ServerProcess(folder, database_url=SQLiteTemplate(folder).copy(), server=SERVER, env=env)
        with server:
            cost = asyncio.run(tokens.cost_of(server, issuer, options.calls))
    is_calm = say_flood(options, quiet, flooded, statuses)
    return 0 if say_cost(cost) and is_calm else 1


def say_flood(options: Any, quiet: list[float], flooded: list[float], statuses: dict[str, int]) -> bool:
    """Whether the second client was hardly disturbed."""
    table = Table(HEAD, markdown=options.markdown)
    table.add(row("quiet", quiet, "all succeeded"))
    said = ", ".join(f"{count} times {status}" for status, count in sorted(statuses.items()))
    table.add(
        row(f"under {options.requests} junk requests, {options.half_open} silent connections", flooded, said)
    )
    ratio = statistics.median(flooded) / statistics.median(quiet)
    print(f"The median is {ratio:.2f} times the quiet one, and may be {ENOUGH:g} times it.")
    return ratio <= ENOUGH


def say_cost(cost: tokens.Cost) -> bool:
    """Whether a token adds as little as it may."""
    print(
        f"CPU of a call: {cost.anonymous * 1e6:.0f} µs anonymous, "
        f"{cost.with_token * 1e6:.0f} µs with a JWT that was verified before. "
        f"A JWT adds {cost.added * 1e6:.0f} µs, and may add {tokens.ENOUGH * 1e6:.0f}."
    )
    return cost.added <= tokens.ENOUGH


async def compare(server: ServerProcess, options: Any) -> tuple[list[float], list[float], dict[str, int]]:
    """Seconds of each call without the flood, and during it; and how the flood was answered."""
    session = await RawSession.open(server.url)
    quiet = [await timed(session) for _ in range(options.calls)]
    with half_open(server.port, options.half_open, FLOODER), flooding(server, options) as is_over:
        flooded = []
        while not is_over():
            flooded.append(await timed(session))
    # Before and after, since a machine is not always equally quiet.
    quiet += [await timed(session) for _ in range(options.calls)]
    return quiet, flooded, is_over.statuses()


async def timed(session: RawSession) -> float:
    # A client that calls without a pause would reach its own rate limit.
    await asyncio.sleep(PAUSE_SECONDS)
    began = time.perf_counter()
    answer = await session.call("echo", {"text": "a"})
    assert answer["result"]["content"][0]["text"] == "a", answer
    return time.perf_counter() - began


class Flood:
    """The process that floods; called, whether it is over."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self) -> bool:
        return self._process.poll() is not None

    def statuses(self) -> dict[str, int]:
        out, _ = self._process.communicate()
        assert self._process.returncode == 0
        return dict(json.loads(out))


@contextmanager
def flooding(server: ServerProcess, options: Any) -> Iterator[Flood]:
    command = [sys.executable, "-m", "tests.bench.security", "--flood", server.url]
    amount = ["--requests", f"{options.requests}", "--rate", f"{options.rate:g}"]
    process = subprocess.Popen([*command, *amount], stdout=subprocess.PIPE, text=True)
    try:
        yield Flood(process)
    finally:
        process.kill()
        process.wait()


def row(name: str, calls: list[float], said: str) -> Row:
    ordered = sorted(calls)
    p99 = ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    return name, seconds(statistics.median(calls)), seconds(p99), f"{len(calls)} calls; {said}"


def parse(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.security", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--half-open", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=500, help="junk requests a second")
    parser.add_argument("--calls", type=int, default=500, help="of the second client before and after")
    parser.add_argument("--limits", help="RATE_LIMITS as JSON, in place of the defaults")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--flood", metavar="URL", help="be the process that floods")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
