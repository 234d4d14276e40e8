"""A real server process of the example project, on a real port."""

from __future__ import annotations

import asyncio
import copy
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Literal

import psutil

from tests.harness import forking, processes
from tests.harness.forking import ROOT, Forked
from tests.harness.launch import APPLICATION_VARIABLE
from tests.harness.ports import free_port, is_open
from tests.harness.transactions import holds_none

# Four test runs start three servers each at the same time, and gunicorn itself waits 30 s for its children.
START_DEADLINE: Final = 120.0
STOP_DEADLINE: Final = 60.0
POLL_SECONDS: Final = 0.02
APPLICATION: Final = "example_project.asgi:application"
SETTINGS: Final = "tests.e2e_settings"

Kind = Literal["uvicorn", "daphne", "uvicorn-workers", "gunicorn"]
KINDS: Final[tuple[Kind, ...]] = ("uvicorn", "daphne")
"""Those whose process serves by itself."""
MANAGED_KINDS: Final[tuple[Kind, ...]] = ("uvicorn-workers", "gunicorn")
"""Those whose process manages children that serve."""
ALL_KINDS: Final = KINDS + MANAGED_KINDS
CHILDREN: Final = 2
HANGING: Final = "20"
"""Seconds after which uvicorn replaces a child that does not answer: not one that waits for its turn.

So long it takes as well until one is replaced that was killed between the question and the answer.
"""

# What a developer's shell may say and a test must not hear.
FOREIGN: Final = re.compile(
    r"^(DJANGO_|DATABASE_URL$|REDIS_URL$|CELERY_|MCP_|SECRET_KEY$|DEBUG$|ALLOWED_|PORT$"
    r"|UVICORN_|GUNICORN_|WEB_CONCURRENCY$|FORWARDED_ALLOW_IPS$)"
)


class ServerFailed(AssertionError):
    """Raised when the server does not start, does not stop, or ended by itself; its log is told."""


def command(kind: Kind, port: int, application: str) -> list[str]:
    if kind in MANAGED_KINDS:
        application = "tests.harness.child:application"
    children, address = str(CHILDREN), f"127.0.0.1:{port}"
    uvicorn = ["uvicorn", application, "--host", "127.0.0.1", "--port", str(port)]
    gunicorn = ["gunicorn", application, "--bind", address, "--workers", children, "--no-control-socket"]
    commands = {
        "uvicorn": uvicorn,
        "daphne": ["daphne", "-b", "127.0.0.1", "-p", str(port), application],
        "uvicorn-workers": [*uvicorn, "--workers", children, "--timeout-worker-healthcheck", HANGING],
        "gunicorn": [*gunicorn, "--worker-class", "uvicorn_worker.UvicornWorker"],
    }
    return ["-m", *commands[kind]]


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **changes}


def wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    end = time.monotonic() + deadline
    while not (reached := condition()) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return reached


class ServerProcess:
    """Started by `start()` or as a context manager; `restart()` keeps the port and the database."""

    def __init__(
        self,
        folder: Path,
        *,
        kind: Kind = "uvicorn",
        database_url: str | None = None,
        server: str | None = None,
        settings: str = SETTINGS,
        application: str = APPLICATION,
        path: str = "/mcp",
        env: Mapping[str, str] | None = None,
        is_forked: bool = True,
    ) -> None:
        """It starts as a fork that has its imports, in a tenth of the time, or as an interpreter that
        has none. uvicorn starts the children that it manages as interpreters in any case.
        """
        self.is_forked = is_forked and kind != "uvicorn-workers"
        self.kind = kind
        self.application = application
        self.path = path
        self.port = free_port()
        self.log_file = folder / f"{kind}-{self.port}.log"
        self.process: subprocess.Popen[bytes] | Forked | None = None
        named = {"DATABASE_URL": database_url, "MCP_SERVER": server, "DJANGO_SETTINGS_MODULE": settings}
        self.env = {
            "SECRET_KEY": "only for tests, and the same after a restart",
            "PORT": str(self.port),
            APPLICATION_VARIABLE: application,
            # By this PostgreSQL knows which of its connections are this server's.
            "PGAPPNAME": f"{kind}-{self.port}",
            **{name: value for name, value in named.items() if value is not None},
            **(env or {}),
        }

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return self.origin + self.path

    def at(self, path: str) -> ServerProcess:
        """The same process, as clients of another of its endpoints see it."""
        elsewhere = copy.copy(self)
        elsewhere.path = path
        return elsewhere

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def children(self) -> list[int]:
        """The processes that serve, of a kind whose own does not."""
        return processes.workers(self.pid) if self.kind in MANAGED_KINDS else []

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process."""
        assert self.process is None, "It runs already."
        arguments, env = command(self.kind, self.port, self.application), environment(self.env)
        with self.log_file.open("ab") as log:
            if self.is_forked:
                self.process = forking.start(arguments, env=env, stdout=log, stderr=log)
            else:
                self.process = exec_with_parent(arguments, env, log)

    def wait_ready(self) -> None:
        assert self.process is not None
        if not wait_until(self._answers_or_ended, START_DEADLINE) or self.process.poll() is not None:
            self.end()
            raise ServerFailed(f"The server did not start:\n{self.log()}")

    async def start_beside(self) -> None:
        """start() while the test's loop goes on, and the clients in it."""
        self.launch()
        await asyncio.to_thread(self.wait_ready)

    async def restart_beside(self) -> float:
        """restart() in the same way; returns how many seconds the stopping took."""
        seconds = await asyncio.to_thread(self.stop)
        await self.start_beside()
        return seconds

    def stop(self) -> float:
        """End it as a deploy does, by SIGTERM, and tell how many seconds that took."""
        assert self.process is not None
        began, all_of_it = time.monotonic(), processes.tree(self.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"The server did not stop within {STOP_DEADLINE} s:\n{self.log()}") from None
        self._gone(all_of_it)
        return time.monotonic() - began

    def kill(self) -> None:
        """End it, and its children, as a crash of the machine does."""
        assert self.process is not None
        all_of_it = processes.tree(self.pid)
        # Stopped first, so that no manager starts another child meanwhile.
        processes.send(all_of_it, signal.SIGSTOP)
        all_of_it = processes.tree(self.pid) or all_of_it
        processes.send(all_of_it, signal.SIGKILL)
        self.process.wait(STOP_DEADLINE)
        self._gone(all_of_it)

    def kill_child(self, pid: int) -> None:
        """End one of the processes that serve as a crash does; its manager starts another."""
        assert pid in self.children, (pid, self.children)
        psutil.Process(pid).kill()

        def is_replaced() -> bool:
            return pid not in self.children and len(self.children) >= CHILDREN

        if not wait_until(is_replaced, START_DEADLINE):
            raise ServerFailed(f"No child was started in the place of {pid}:\n{self.log()}")

    def pause(self) -> None:
        """Stop it, and its children, where they stand, as a machine does that is out of breath.

        Only not within a transaction, whose locks would hold up everybody: then it goes on for a moment.
        """
        if not wait_until(self._stands_still, STOP_DEADLINE):
            raise ServerFailed(f"The server cannot be paused:\n{self.log()}")

    def resume(self) -> None:
        processes.send(processes.tree(self.pid), signal.SIGCONT)

    def end(self) -> None:
        """Whatever its state, no process is left behind."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.resume()
            self.stop()
        else:
            self._gone([])

    def restart(self) -> None:
        self.stop()
        self.start()

    def tracebacks(self) -> list[str]:
        """What went wrong in the server and reached its log, whatever the clients were answered."""
        return re.findall(
            r"^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*.*$", self.log(), re.MULTILINE
        )

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def manage(self, *arguments: str) -> str:
        return manage(*arguments, env=self.env)

    def _stands_still(self) -> bool:
        all_of_it = processes.tree(self.pid)
        processes.send(all_of_it, signal.SIGSTOP)
        if not wait_until(lambda: all(map(processes.is_stopped, all_of_it)), STOP_DEADLINE):
            return False
        if holds_none(self.env.get("DATABASE_URL", ""), self.env["PGAPPNAME"]):
            return True
        self.resume()
        return False

    def _answers_or_ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None or (is_open(self.port) and self._answers())

    def _answers(self) -> bool:
        # Daphne listens before the application is there; HEAD opens no session anywhere.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_DEADLINE)
        try:
            connection.request("HEAD", self.path)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    def _gone(self, all_of_it: list[psutil.Process]) -> None:
        assert self.process is not None and self.process.returncode is not None
        self.process = None
        left = processes.left_behind(all_of_it[1:], STOP_DEADLINE)
        processes.send(left, signal.SIGKILL)
        if left or not wait_until(lambda: not is_open(self.port), STOP_DEADLINE):
            raise ServerFailed(f"Something of the server still runs ({left}):\n{self.log()}")


def exec_with_parent(
    arguments: Sequence[str], env: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """An interpreter that imports everything anew. It dies with the thread that starts it."""
    assert threading.current_thread() is threading.main_thread()
    return subprocess.Popen(
        [sys.executable, "-m", "tests.harness.launch", *arguments[1:]],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )


def manage(*arguments: str, env: Mapping[str, str]) -> str:
    """Run manage.py in a process of its own and return what it printed."""
    own = environment({"DJANGO_SETTINGS_MODULE": SETTINGS, **env})
    done = forking.run(["manage.py", *arguments], env=own, timeout=120)
    if done.returncode:
        raise ServerFailed(f"manage.py {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
