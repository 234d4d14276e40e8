"""What the mount's signal handler does where nobody handled the signal before."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import Final

import pytest

from mcp_sessions.runtime import Runtime, adopt
from mcp_sessions.stopping import drain_before_stopping
from tests.servers import DEADLINE

SCRIPT: Final = """
import asyncio, os, signal
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from mcp_sessions.stopping import drain_before_stopping
from mcp_sessions.runtime import adopt

async def main():
    drain_before_stopping(adopt())
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_process_without_a_handler_still_dies_of_the_signal() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], timeout=60, capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM, done.stderr


class Server:
    """As much of uvicorn's server as the mount looks at."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.log: list[bool] = []

    def handle_exit(self, signum: int, frame: object) -> None:
        raise AssertionError("nobody sends a signal")

    async def shutdown(self, sockets: object = None) -> None:
        self.log.append(self.runtime.draining)


@pytest.mark.parametrize("has_lifespan", [True, False])
async def test_a_server_that_shuts_down_without_a_signal_drains(process: None, has_lifespan: bool) -> None:
    used = adopt()
    used.has_lifespan = has_lifespan
    server = Server(used)
    signal.signal(signal.SIGTERM, server.handle_exit)
    drain_before_stopping(used)
    await server.shutdown()
    assert server.log == [True]
    assert used.stopping is not None
    await asyncio.wait_for(used.stopping, DEADLINE)
    assert used.is_over is not has_lifespan


class Child(Server):
    """One that multiprocessing started, with a socket that its parent keeps open."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.told: list[int] = []

    def handle_exit(self, signum: int, frame: object) -> None:
        self.told.append(signum)


@pytest.fixture
async def child(process: None, monkeypatch: pytest.MonkeyPatch) -> Child:
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object())
    used = adopt()
    used.has_lifespan = True
    server = Child(used)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    drain_before_stopping(used)
    return server


async def drained(server: Child) -> None:
    """Whatever the signals have begun is done."""
    await asyncio.sleep(0)
    assert server.runtime.stopping is not None
    await asyncio.wait_for(server.runtime.stopping, DEADLINE)


async def test_a_child_is_told_after_its_drain_however_often_it_is_terminated(child: Child) -> None:
    """Until then it answers who connects: its parent, systemd or a terminal each send a signal."""
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert child.told == [] and child.runtime.draining
    await drained(child)
    assert child.told and not child.runtime.is_over


async def test_a_child_that_is_interrupted_twice_is_told_at_once(child: Child) -> None:
    signal.raise_signal(signal.SIGINT)
    assert child.told == []
    signal.raise_signal(signal.SIGINT)
    assert child.told == [signal.SIGINT]
    await drained(child)
