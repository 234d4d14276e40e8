"""Start Python programs quickly: as forks of a process that has imported everything (forkserver.py)."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
_lock: Final = threading.Lock()


class Forked:
    """A process that the fork server started, with what tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status
        self._reading = threading.Lock()

    def poll(self) -> int | None:
        self._wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._wait(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _wait(self, timeout: float | None) -> None:
        with self._reading:
            if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
                # Nothing was written: the fork server has ended, and with it this one.
                self.returncode = int(os.read(self._status, 16) or -signal.SIGKILL)
                os.close(self._status)


def start(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    stdout: IO[Any],
    stderr: IO[Any],
    cwd: Path = ROOT,
) -> Forked:
    """What `subprocess.Popen([sys.executable, *arguments])` does, with nothing to read as its input."""
    assert _interpreters(env) == _interpreters(_own_environment()), "It would not begin as it should."
    status, told = os.pipe()
    request = {"arguments": list(arguments), "folder": str(cwd), "env": dict(env)}
    with _lock:
        control = _server()
        said = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(control, [said], [stdout.fileno(), stderr.fileno(), told])
        control.sendall(said[sent:])
        pid = int(control.recv(32))
    os.close(told)
    return Forked(pid, status)


class Ran(subprocess.CompletedProcess[str]):
    """A process that has ended. `pid` was its number."""

    pid: int


def run(arguments: Sequence[str], *, env: Mapping[str, str], timeout: float, cwd: Path = ROOT) -> Ran:
    """What `subprocess.run` does, with the output captured as text."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = start(arguments, env=env, stdout=stdout, stderr=stderr, cwd=cwd)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        stdout.seek(0)
        stderr.seek(0)
        ran = Ran(arguments, code, stdout.read(), stderr.read())
        ran.pid = process.pid
        return ran


@cache
def _server() -> socket.socket:
    ours, its = socket.socketpair()
    with its:
        command = [sys.executable, "-m", "tests.harness.forkserver", str(its.fileno())]
        process = subprocess.Popen(
            command, cwd=ROOT, env=_own_environment(), stdin=subprocess.DEVNULL, pass_fds=[its.fileno()]
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _own_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _interpreters(env: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter reads only as it starts."""
    return {name: value for name, value in env.items() if name.startswith("PYTHON") and name != "PYTHONPATH"}
