"""The example project is tested from outside: as processes, with a state folder and database of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

# What a developer may have set for their own runs must not reach these.
OWN_SETTINGS = (
    "ALLOWED_HOSTS",
    "ALLOWED_ORIGINS",
    "CELERY_BROKER_URL",
    "DATABASE_URL",
    "DEBUG",
    "DJANGO_SETTINGS_MODULE",
    "MAKELEVEL",
    "MCP_SERVER",
    "MCP_SESSION_STORE",
    "PORT",
    "REDIS_URL",
    "SECRET_KEY",
    "STATE_DIR",
)


def eventually(condition: Callable[[], object], seconds: float = 60, why: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds. {why()}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Example:
    """One copy of the example: a folder with its database and state, and processes that run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "db.sqlite3"
        self.environment = {name: value for name, value in os.environ.items() if name not in OWN_SETTINGS}
        self.environment |= {
            "DATABASE_URL": f"sqlite:///{self.database}",
            "STATE_DIR": str(folder / "state"),
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def manage(self, *arguments: str, **environment: str) -> str:
        done = self.run("manage.py", *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def query(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=20)) as connection:
            return connection.execute(sql, parameters).fetchall()

    @contextlib.contextmanager
    def process(self, *arguments: str, **environment: str) -> Iterator[Running]:
        log = self.folder / f"{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            process = psutil.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Running(process, log)
        finally:
            end(process)


class Running:
    def __init__(self, process: psutil.Popen, log: Path) -> None:
        self.process = process
        self._log = log

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def says(self, text: str) -> None:
        """Wait until it has said so."""
        eventually(lambda: text in self.output() or self._has_ended(), why=self.output)
        assert text in self.output(), self.output()

    def _has_ended(self) -> bool:
        return self.process.poll() is not None


def end(process: psutil.Popen) -> None:
    """End it and whatever it has started; a test that failed half-way must leave nothing behind."""
    family = [process]
    with contextlib.suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
    for member in reversed(family):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example(tmp_path)


@pytest.fixture
def migrated(example: Example) -> Example:
    example.manage("migrate", "-v0")
    return example
