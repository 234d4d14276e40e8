"""Processes that serve nobody and send to sessions: a management command, and a Celery worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

import celery

from tests.e2e.operations.celery_processes import forget
from tests.harness import forking
from tests.harness.server import START_DEADLINE, STOP_DEADLINE, ServerProcess, environment, wait_until

TASK_DEADLINE: Final = 60.0
Call = tuple[str, list[Any], dict[str, Any]]
"""A function of mcp_sessions with what it is given."""


def event(key: str, name: str, data: Any) -> Call:
    return "send_session_message", [key], {"event": name, "data": data}


def update(uri: str, server: str | None = None) -> Call:
    return "send_resource_updated", [uri], {} if server is None else {"server": server}


class Sender(Protocol):
    async def __call__(self, *calls: Call) -> str:
        """Have another process call these, one after the other; what it said when it has."""


class CommandSender:
    """`manage.py shell`: a new process each time, as it is of any management command."""

    def __init__(self, like: ServerProcess) -> None:
        self._like = like

    async def __call__(self, *calls: Call) -> str:
        code = (
            "import logging, sys, mcp_sessions\n"
            "logging.getLogger('mcp_sessions').addHandler(logging.StreamHandler(sys.stdout))\n"
            f"for name, args, kwargs in {calls!r}: getattr(mcp_sessions, name)(*args, **kwargs)"
        )
        return await asyncio.to_thread(self._like.manage, "shell", "-v0", "-c", code)


class CelerySender:
    """A worker process with a child that runs the tasks, and a queue of its own."""

    def __init__(self, log_file: Path, broker: str, queue: str) -> None:
        self._log_file = log_file
        self._broker = broker
        self.queue = queue

    async def __call__(self, *calls: Call) -> str:
        before = len(self.log())
        await asyncio.to_thread(self._send, calls)
        is_done = await asyncio.to_thread(
            wait_until, lambda: " succeeded in " in self.log()[before:], TASK_DEADLINE
        )
        assert is_done, self.log()
        return self.log()[before:]

    def _send(self, calls: tuple[Call, ...]) -> None:
        with celery.Celery(broker=self._broker, set_as_current=False) as app:
            app.send_task("tests.send", [calls], queue=self.queue, ignore_result=True)

    def log(self) -> str:
        return self._log_file.read_text(errors="replace")


@contextmanager
def celery_worker(
    folder: Path, like: ServerProcess, broker: str, level: str = "INFO"
) -> Iterator[CelerySender]:
    """A Celery worker of the project that this server process serves."""
    queue = f"mcp-sessions-{uuid4().hex[:12]}"
    log_file = folder / f"{queue}.log"
    arguments = ["--concurrency", "1", "--loglevel", level, "--include", "tests.e2e.workers.tasks"]
    quietly = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = ["-m", "celery", "-A", "example_project", "worker", "-Q", queue, *arguments, *quietly]
    settings = {"CELERY_BROKER_URL": broker, "STATE_DIR": str(folder / queue)}
    with log_file.open("wb") as log:
        env = environment({**like.env, **settings})
        process = forking.start(command, env=env, stdout=log, stderr=log)
    sender = CelerySender(log_file, broker, queue)
    try:
        ready = wait_until(lambda: " ready." in sender.log() or process.poll() is not None, START_DEADLINE)
        assert ready and process.poll() is None, sender.log()
        yield sender
    finally:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE)
        finally:
            process.kill()
            process.wait()
        forget(broker, queue)
