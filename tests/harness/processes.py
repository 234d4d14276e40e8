"""A server's process and the children that do its work."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Sequence
from typing import Final

import psutil

# multiprocessing starts one beside the children that serve.
NOT_A_WORKER: Final = "resource_tracker"
POLL_SECONDS: Final = 0.02


def tree(pid: int) -> list[psutil.Process]:
    """The process and all its descendants; nothing if it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def workers(pid: int) -> list[int]:
    """The ids of the children that serve."""
    return [child.pid for child in tree(pid)[1:] if _serves(child)]


def send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def is_stopped(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def left_behind(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still run after so many seconds."""
    end = time.monotonic() + seconds
    while (left := [each for each in processes if _runs(each)]) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        # A zombie has ended; whoever took it over need not have asked how.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _serves(process: psutil.Process) -> bool:
    try:
        return not any(NOT_A_WORKER in word for word in process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
