"""Celery's worker as a user runs it, over a real broker, and killed as a machine kills."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import celery

from mcp_sessions.tasks import PURGE
from tests.harness import forking, processes
from tests.harness.forking import Forked
from tests.harness.server import (
    SETTINGS,
    START_DEADLINE,
    STOP_DEADLINE,
    environment,
    wait_until,
)

QUIETLY: Final = ("--without-gossip", "--without-mingle", "--without-heartbeat")


class CeleryWorker:
    """A worker process with one child that runs the tasks, and a queue of its own."""

    def __init__(self, folder: Path, broker: str, env: Mapping[str, str]) -> None:
        self.broker = broker
        self.queue = f"mcp-sessions-{uuid4().hex[:12]}"
        self._log_file = folder / f"{self.queue}.log"
        own = {"CELERY_BROKER_URL": broker, "E2E_QUEUE": self.queue, "STATE_DIR": str(folder / self.queue)}
        self._env = environment({"DJANGO_SETTINGS_MODULE": SETTINGS, **env, **own})
        self._process: Forked | None = None

    def start(self) -> None:
        command = ["celery", "-A", "example_project", "worker", "--concurrency", "1", "--loglevel", "INFO"]
        with self._log_file.open("wb") as log:
            self._process = forking.start(["-m", *command, *QUIETLY], env=self._env, stdout=log, stderr=log)
        assert wait_until(lambda: " ready." in self.log(), START_DEADLINE), self.log()

    def purge(self) -> None:
        """Have it purge, as beat does."""
        with celery.Celery(broker=self.broker, set_as_current=False) as app:
            app.send_task(PURGE, queue=self.queue, ignore_result=True)

    def kill(self) -> None:
        """End it and its child by SIGKILL."""
        assert self._process is not None
        if self._process.poll() is not None:
            return  # its number may be somebody else's by now
        all_of_it = processes.tree(self._process.pid)
        processes.send(all_of_it, signal.SIGKILL)
        self._process.wait(STOP_DEADLINE)
        assert processes.left_behind(all_of_it[1:], STOP_DEADLINE) == []

    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def forget(self) -> None:
        """Leave nothing of it at the broker."""
        forget(self.broker, self.queue)


def forget(broker: str, queue: str) -> None:
    """Delete a queue."""
    with celery.Celery(broker=broker, set_as_current=False) as app, app.connection() as connection:
        channel = connection.default_channel
        channel.queue_delete(queue)
        if broker.startswith("redis:"):
            channel.client.delete(f"_kombu.binding.{queue}", f"_kombu.binding_permanent.{queue}")


@contextmanager
def celery_worker(folder: Path, broker: str, env: Mapping[str, str]) -> Iterator[CeleryWorker]:
    worker = CeleryWorker(folder, broker, env)
    try:
        worker.start()
        yield worker
    finally:
        worker.kill()
        worker.forget()
