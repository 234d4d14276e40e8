"""The example project is tested from outside: as processes, with a folder and a database of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import forking

ROOT = Path(__file__).resolve().parent.parent.parent

# What a developer may have set for runs of their own must not reach these.
OWN_SETTINGS = (
    "ALLOWED_HOSTS",
    "ALLOWED_ORIGINS",
    "CELERY_BROKER_URL",
    "DATABASE_URL",
    "DEBUG",
    "DJANGO_SETTINGS_MODULE",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MCP_SERVER",
    "MCP_SESSION_STORE",
    "PORT",
    "REDIS_URL",
    "SECRET_KEY",
    "STATE_DIR",
)


def eventually(condition: Callable[[], object], seconds: float = 120, why: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds. {why()}"
        time.sleep(0.05)


class Running:
    """A process and what it says."""

    def __init__(self, process: psutil.Popen, log: Path) -> None:
        self.process = process
        self._log = log

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def says(self, text: str) -> None:
        """Wait until it has said so."""
        eventually(lambda: text in self.output() or self.has_ended(), why=self.output)
        assert text in self.output(), self.output()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def family(self) -> list[psutil.Process]:
        """It and whatever it has started, and those have started."""
        try:
            return [self.process, *self.process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        for member in reversed(self.family()):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait()


class Example:
    """One copy of the example: a folder with its database and state, and processes that run on it."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder = folder
        self.root = root
        self.database = folder / "db.sqlite3"
        self.environment = {name: value for name, value in os.environ.items() if name not in OWN_SETTINGS}
        self.environment |= {
            "DATABASE_URL": f"sqlite:///{self.database}",
            "STATE_DIR": str(folder / "state"),
            "PYTHONPATH": str(folder),
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def manage(self, *arguments: str, **environment: str) -> str:
        env = self.environment | environment
        done = forking.run(["manage.py", *arguments], env=env, timeout=120, cwd=self.root)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def query(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=20)) as connection:
            found = connection.execute(sql, parameters).fetchall()
            connection.commit()
        return found

    @contextlib.contextmanager
    def process(self, *command: str, **environment: str) -> Iterator[Running]:
        log = self.folder / f"{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            process = psutil.Popen(
                command,
                cwd=self.root,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        running = Running(process, log)
        try:
            yield running
        finally:
            # A test that failed half-way leaves nothing behind either.
            running.kill()


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example(tmp_path)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, made once and copied for each test."""
    example = Example(tmp_path_factory.mktemp("migrated"))
    example.manage("migrate", "-v0")
    return example.database


@pytest.fixture
def migrated(example: Example, empty_database: Path) -> Example:
    shutil.copy(empty_database, example.database)
    return example
