"""The two sides of a row: a server process each, on a core of its own, and the CPU seconds it has taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import psutil
import psycopg

from tests.harness.ports import free_port, is_open
from tests.harness.server import environment

ROOT: Final = Path(__file__).resolve().parents[3]
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 60.0
UVICORN: Final = (
    *("--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "warning"),
    *("--timeout-keep-alive", "600", "--backlog", "8192"),
)
STORES: Final = "mcp_sessions.stores"
Servers = Literal["uvicorn", "gunicorn", "daphne"]


@dataclass(frozen=True)
class Side:
    """What is served, and what its process is told. `postgres` is the database it uses, if there is one."""

    name: str
    application: str
    env: tuple[tuple[str, str], ...] = ()
    postgres: str = ""
    path: str = "/mcp"
    workers: int = 1
    server: Servers = "uvicorn"


@dataclass(frozen=True)
class Spent:
    """CPU seconds, of the server's processes and of its database's."""

    server: float
    database: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.server - other.server, self.database - other.database)

    @property
    def total(self) -> float:
        return self.server + self.database


class Server:
    """A side that runs."""

    def __init__(self, side: Side, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.side = side
        self.url = f"http://127.0.0.1:{port}{side.path}"
        self._process = process
        self._port = port
        self._log = log

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_open(self._port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.side.name} did not start:\n{self._log.read_text()}")
            time.sleep(0.05)

    @property
    def memory(self) -> int:
        """Bytes of its processes that are in memory."""
        return sum(int(each.memory_info().rss) for each in self._processes())

    def spent(self) -> Spent:
        backends = self._backends() if self.side.postgres else ()
        return Spent(sum(map(_cpu_of, self._processes())), sum(map(_cpu_of, backends)))

    def _processes(self) -> list[psutil.Process]:
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]

    def _backends(self) -> Iterator[psutil.Process]:
        """Of PostgreSQL on this machine. One that has ended is missing: what serves keeps its connections."""
        with psycopg.connect(self.side.postgres) as connection:
            asked = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            found = connection.execute(f"{asked} AND pid <> pg_backend_pid()").fetchall()
        for (pid,) in found:
            with suppress(psutil.NoSuchProcess):
                yield psutil.Process(pid)


@contextmanager
def serving(side: Side) -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        process = _start(side, port, log)
        try:
            server = Server(side, process, port, log)
            server.wait()
            yield server
        finally:
            _stop(process)


def _start(side: Side, port: int, log: Path) -> subprocess.Popen[bytes]:
    launch = [sys.executable, "-m", "tests.harness.launch"]
    with log.open("wb") as out:
        env = environment(dict(side.env))
        process = subprocess.Popen(
            [*launch, *_command(side, port)],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    if side.workers == 1:
        _pin(process.pid, first=True)
    return process


def _command(side: Side, port: int) -> list[str]:
    if side.server == "daphne":
        return ["daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", side.application]
    if side.server == "gunicorn":
        worker = ["-k", "uvicorn_worker.UvicornWorker", "-w", str(side.workers), "--keep-alive", "600"]
        return ["gunicorn", "-b", f"127.0.0.1:{port}", *worker, "--log-level", "warning", side.application]
    workers = ["--workers", str(side.workers)] if side.workers > 1 else []
    return ["uvicorn", side.application, "--port", str(port), *UVICORN, *workers]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def pin_myself() -> None:
    """Who asks stays off the core of who is asked."""
    _pin(os.getpid(), first=False)


def _pin(pid: int, *, first: bool) -> None:
    cores = list(range(psutil.cpu_count() or 1))
    if hasattr(os, "sched_setaffinity") and len(cores) > 1:
        os.sched_setaffinity(pid, cores[:1] if first else cores[1:])


def _cpu_of(process: psutil.Process) -> float:
    try:
        times: Any = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


# -- which sides there are --------------------------------------------------------------------


def ours(
    database: str,
    name: str = "mcp_sessions",
    *,
    workers: int = 1,
    path: str = "/mcp",
    server: Servers = "uvicorn",
    **options: Any,
) -> Side:
    """The app on this database; `options` are of MCP_SESSIONS."""
    told = {
        "DATABASE_URL": database,
        "DJANGO_SETTINGS_MODULE": "tests.bench.speed.settings",
        "MCP_SERVER": "tests.e2e.servers.bench:server",
        "SECRET_KEY": "only for the bench",
        "E2E_MCP_SESSIONS": json.dumps({"RATE_LIMITS": {}, **options}),
    }
    postgres = database if database.startswith("postgres") else ""
    application = "example_project.asgi:application"
    return Side(name, application, tuple(told.items()), postgres, path, workers, server)


def theirs(replies: str = "sse") -> Side:
    """The SDK by itself: "sse" is how it replies by default, "json" its JSON mode."""
    name = "SDK" if replies == "sse" else "SDK, JSON"
    return Side(name, "tests.bench.speed.peer:application", (("REPLIES", replies),))


def store(backend: str, **options: Any) -> Mapping[str, Any]:
    return {"SESSION_STORE": {"BACKEND": f"{STORES}.{backend}", "OPTIONS": options}}
