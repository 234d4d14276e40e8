"""A purge of everything that is due, and what requests feel meanwhile."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.bench.load import load, percentile
from tests.bench.table import Row, seconds
from tests.harness.server import ROOT, ServerProcess

SETTINGS: Final = "tests.bench.settings"
SERVER: Final = "tests.e2e.servers.bench:server"


def rows(database_url: str, calm_seconds: float) -> Iterator[Row]:
    """What calls of a tool took: before the purge, and during it. The purge last."""
    with (
        tempfile.TemporaryDirectory(prefix="mcp-sessions-bench-") as folder,
        ServerProcess(
            Path(folder), settings=SETTINGS, database_url=database_url, server=SERVER, is_forked=False
        ) as server,
    ):
        calm, purging, told = asyncio.run(_felt(server.url, calm_seconds))
    yield _calls("calls without a purge", calm)
    yield _calls("calls during the purge", purging)
    rate = told["purged"] / told["seconds"]
    said = (
        f"{told['purged']:,} sessions, {rate:,.0f} a second, in {told['batches']:,} batches; longest of"
        f" {told['transactions']:,} transactions {seconds(told['longest'])}"
    )
    yield "purge", seconds(told["seconds"]), str(told["queries"]), said


async def _felt(url: str, calm_seconds: float) -> tuple[list[float], list[float], dict[str, Any]]:
    is_over = asyncio.Event()
    asyncio.get_running_loop().call_later(calm_seconds, is_over.set)
    calm = await load(url, is_over)
    is_over = asyncio.Event()
    async with asyncio.TaskGroup() as both:
        loading = both.create_task(load(url, is_over))
        purging = both.create_task(_purge(is_over))
    return calm, loading.result(), purging.result()


async def _purge(is_over: asyncio.Event) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.harness.launch", "tests.bench.purge"]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        out, _ = await process.communicate()
    finally:
        is_over.set()
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, out
    told: dict[str, Any] = json.loads(out)
    return told


def _calls(name: str, felt: list[float]) -> Row:
    shares = ", ".join(f"p{percent} {seconds(percentile(felt, percent))}" for percent in (50, 90, 99))
    return name, seconds(percentile(felt, 50)), "1", f"{len(felt):,} calls: {shares}"
