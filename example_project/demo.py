"""`make demo`: the example with everything that belongs to it, until Ctrl-C.

Starts the server, a Celery worker and beat as processes of their own and ends all of them together,
whichever way this one ends.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from example_project.people import ADMIN, make_people, password_file, token_file

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 60
# What each is given to end by itself. The worker looks at its broker of files every two seconds,
# and to the end only then; what a killed purge has not done, the next one does.
STOP_SECONDS: Final = {"server": 8, "worker": 2, "beat": 2}
LOG_LINES: Final = 15


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


class Stopped(Exception):
    """Somebody asked for the end."""


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path | None


class Ending:
    """Whether the end was asked for. Signals only set a flag, which is looked at where stopping is
    safe: an exception in the middle of starting a process would leave one that nobody ends.
    """

    def __init__(self) -> None:
        self._asked = False
        # Killed outright, make passes nothing on; then nobody is left who could press Ctrl-C.
        self._make = os.getppid() if "MAKELEVEL" in os.environ else None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def pause(self) -> None:
        """Rest a moment. Raises Stopped when the end was asked for."""
        time.sleep(0.1)
        if self._asked or (self._make is not None and os.getppid() != self._make):
            raise Stopped


def main() -> int:
    ending = Ending()
    try:
        run(ending)
    except Stopped:
        say("\nStopped.")
        return 0
    except DemoFailed as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    return 0


def run(ending: Ending) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    import django
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    try:
        port, state, base = settings.PORT, settings.STATE_DIR, settings.BASE_DIR
        django.setup()
    except ImproperlyConfigured as error:
        raise DemoFailed(str(error)) from error
    check_port(port)
    state.mkdir(parents=True, exist_ok=True)
    say("Preparing the database.")
    prepare(state)
    say("Starting the server, a Celery worker and beat.")
    with children(base, state, port) as started:
        wait_until_served(port, started, ending)
        say(welcome(port, state))
        while True:
            check_alive(started)
            ending.pause()


def say(text: str) -> None:
    """Print a line at once, also into a pipe: the user of the demo waits for it."""
    print(text, flush=True)


def check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the server does: a port that was left a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DemoFailed(
                f"Port {port} cannot be used: {error.strerror}. Choose another: make demo PORT={port + 1}"
            ) from error


def prepare(state: Path) -> None:
    """Bring the database up to date, load the tickets and make the people."""
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0, interactive=False)
    call_command("load_tickets")
    make_people(state)
    connections.close_all()


@contextlib.contextmanager
def children(base: Path, state: Path, port: int) -> Iterator[list[Child]]:
    celery = [sys.executable, "-m", "celery", "-A", "example_project"]
    # A schedule of its own for every port: two demos may run from one folder.
    schedule = str(state / f"celerybeat-schedule-{port}")
    logging = ["--loglevel", "INFO"]
    commands = {
        "server": [sys.executable, "manage.py", "runserver", "--noreload", f"{HOST}:{port}"],
        "worker": [*celery, "worker", "--pool", "solo", "--without-gossip", "--without-mingle", *logging],
        "beat": [*celery, "beat", "--schedule", schedule, *logging],
    }
    started: list[Child] = []
    try:
        for name, command in commands.items():
            log = None if name == "server" else state / f"{name}-{port}.log"
            started.append(start(name, command, base, log))
        yield started
    finally:
        end(started)


def start(name: str, command: list[str], base: Path, log: Path | None) -> Child:
    with contextlib.ExitStack() as opened:
        output = opened.enter_context(log.open("wb")) if log else None
        process = subprocess.Popen(
            command,
            cwd=base,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            # A group of its own: Ctrl-C reaches only this process, which ends the others.
            start_new_session=True,
        )
    return Child(name, process, log)


def end(started: list[Child]) -> None:
    """Ask all to end, wait, and kill what has not ended by then."""
    for child in started:
        signal_group(child, signal.SIGTERM)
    asked_at = time.monotonic()
    for child in sorted(started, key=lambda child: STOP_SECONDS[child.name]):
        try:
            child.process.wait(max(0, asked_at + STOP_SECONDS[child.name] - time.monotonic()))
        except subprocess.TimeoutExpired:
            signal_group(child, signal.SIGKILL)
            child.process.wait()


def signal_group(child: Child, number: signal.Signals) -> None:
    if child.process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, number)


def check_alive(started: list[Child]) -> None:
    for child in started:
        if (code := child.process.poll()) is not None:
            raise DemoFailed(f"The {child.name} has ended by itself (exit status {code}).{last_words(child)}")


def last_words(child: Child) -> str:
    if child.log is None:
        return ""
    lines = child.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join([f" The end of {child.log}:", *lines])


def wait_until_served(port: int, started: list[Child], ending: Ending) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_served(port):
        check_alive(started)
        if time.monotonic() > deadline:
            raise DemoFailed(f"The server does not answer after {START_SECONDS} seconds.")
        ending.pause()


def is_served(port: int) -> bool:
    # Not urllib: it would ask a proxy named in the environment. Any answer will do.
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def welcome(port: int, state: Path) -> str:
    from django.template.loader import render_to_string

    from mcp_sessions.conf import served_paths

    here = f"http://{HOST}:{port}"
    endpoints = [here + path for path in served_paths()]
    ann, ben = (token_file(state, name) for name in ("ann", "ben"))
    token = f"$(cat {shlex.quote(str(ann))})"
    call = render_to_string("helpdesk/worklist.txt", {"endpoint": endpoints[0], "token": token})
    return f"""
The demo is running.

  MCP endpoint   {"  ".join(endpoints)}
  Website        {here}/
  Admin          {here}/admin/
                 name {ADMIN}, password {password_file(state).read_text().strip()}
  Dashboard      {here}/admin/mcp_sessions/session/dashboard/
  Users          ann, whose token is in {ann}
                 ben, whose token is in {ben}
  Logs           {state}/worker-{port}.log, {state}/beat-{port}.log

This puts a ticket on the worklist of ann. Send it again with another ticket_id, and the worklist has both:

{call}
Send it with the token of ben: the helpdesk is the same, the worklist is another. Or use Claude Code, as ann:

  claude mcp add --transport http helpdesk {endpoints[0]} \\
    --header "Authorization: Bearer {token}"

Without a token you are a visitor, with a session of your own: the website shows how.
Another port is PORT={port + 1} make demo. Ctrl-C ends everything.
"""


if __name__ == "__main__":
    sys.exit(main())
