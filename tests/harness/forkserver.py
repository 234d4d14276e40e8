"""A process that has imported what the tests' programs import, and forks one for each start.

An interpreter that has imported everything takes more than a second of CPU, and a test run starts some
hundred. What is forked begins where the interpreter would: its own environment, folder, arguments,
files and signals, no model imported, no settings read. It dies with this process, and
this one ends when whoever asks is gone.

Started by forking.py, which speaks to it over a socket.
"""

from __future__ import annotations

import gc
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any, Final

from tests.harness.launch import die_with_parent

# Not what reads Django's settings or makes an event loop when it is imported: no models, no twisted
# reactor (so nothing of Daphne's that imports it).
PRELOADED: Final = (
    "anyio._backends._asyncio",
    "autobahn.nvx",
    "autobahn.wamp.message",
    "autobahn.wamp.protocol",
    "autobahn.websocket.protocol",
    "celery.app.base",
    "celery.bin.celery",
    "celery.fixups.django",
    "celery.loaders.app",
    "celery.worker.worker",
    "channels.layers",
    "cryptography.fernet",
    "daphne.utils",
    "dj_database_url",
    "django.contrib.admin",
    "django.contrib.auth.password_validation",
    "django.contrib.messages.middleware",
    "django.contrib.sessions.middleware",
    "django.contrib.staticfiles.handlers",
    "django.core.asgi",
    "django.core.management",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.executor",
    "django.views.debug",
    "fastmcp",
    "gripcontrol",
    "gunicorn.app.wsgiapp",
    "mcp.server.mcpserver",
    "mcp.server.runner",
    "mcp_sessions.routing",
    "redis.asyncio",
    "twisted.application.service",
    "twisted.internet.endpoints",
    "twisted.internet.posixbase",
    "twisted.internet.ssl",
    "twisted.web.http",
    "uvicorn.main",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
    "uvicorn_worker",
)
FIRST_OF_ITS_OWN: Final = 3
"""Files below it are those every process has."""


@dataclass(frozen=True)
class Start:
    """What is to run, as an interpreter would be told: `["-m", module, …]` or `[script, …]`."""

    arguments: list[str]
    folder: str
    env: dict[str, str]
    files: tuple[int, int]
    """Where its output and its errors go."""


class ForkServer:
    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.statuses: dict[int, int] = {}
        """By process, the file its exit status is written to."""
        self.woken, waking = os.pipe()
        os.set_blocking(waking, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waking)

    def serve(self) -> Start:
        """Returns in what was forked only."""
        while True:
            ready, _, _ = select.select([self.control, self.woken], [], [])
            if self.woken in ready:
                os.read(self.woken, 4096)
                self._reap()
            if self.control in ready and (start := self._fork()) is not None:
                return start

    def _fork(self) -> Start | None:
        request, (output, errors, status) = self._request()
        if (pid := os.fork()) == 0:
            return Start(**request, files=(output, errors))
        os.close(output)
        os.close(errors)
        self.statuses[pid] = status
        self.control.sendall(b"%d\n" % pid)
        return None

    def _request(self) -> tuple[dict[str, Any], list[int]]:
        said, files, _, _ = socket.recv_fds(self.control, 65536, 3)
        while said and not said.endswith(b"\n"):
            said += self.control.recv(65536)
        if not said:
            os._exit(0)  # nobody is left who could ask
        return json.loads(said), files

    def _reap(self) -> None:
        for pid in list(self.statuses):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                file = self.statuses.pop(pid)
                os.write(file, b"%d" % os.waitstatus_to_exitcode(status))
                os.close(file)


def preload() -> None:
    for name in PRELOADED:
        import_module(name)
    # Neither survives a fork.
    assert threading.active_count() == 1, threading.enumerate()
    # Nothing of it is garbage, and a collection that went through it would copy its pages.
    gc.collect()
    gc.freeze()


def become(start: Start) -> None:
    """Be as a process that was just started."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _take_files(start.files)
    die_with_parent()
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.env)
    time.tzset()
    random.seed()
    invalidate_caches()


def _take_files(files: tuple[int, int]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, *files)):
        os.dup2(file, number)
    os.closerange(FIRST_OF_ITS_OWN, os.sysconf("SC_OPEN_MAX"))


def run(arguments: list[str], libraries: list[str]) -> None:
    """As the interpreter's `main` does."""
    is_module = arguments[0] == "-m"
    name, *_ = sys.argv = arguments[1:] if is_module else arguments
    first = Path.cwd() if is_module else Path(name).resolve().parent
    sys.path[:] = [str(first), *_own_paths(), *libraries]
    if is_module:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(name, run_name="__main__")


def _own_paths() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run's end is heard of by the socket
    own = {str(Path.cwd()), *_own_paths()}
    libraries = [path for path in sys.path if path not in own]
    preload()
    start = ForkServer(control).serve()
    control.detach()
    become(start)
    run(start.arguments, libraries)


if __name__ == "__main__":
    main()
