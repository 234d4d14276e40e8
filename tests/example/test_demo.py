"""`make demo` from outside: what it serves, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import html
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from example_project.demo import Child, DemoFailed, Ending, Stopped, check_alive
from tests.example.conftest import Example, Running, eventually
from tests.harness.ports import free_port, is_open

DEADLINE = 120
LAUNCHER = (sys.executable, "-m", "example_project.demo")


@contextlib.contextmanager
def demo(example: Example, *command: str, port: int) -> Iterator[Running]:
    with example.process(*command, PORT=str(port)) as running:
        try:
            running.says("Ctrl-C ends everything.")
            yield running
        finally:
            # The launcher's children have groups of their own: known only as long as it lives.
            for member in running.family()[1:]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()


def whole_family(running: Running) -> list[psutil.Process]:
    """The launcher, the server, the worker and beat, without what one of them runs for a moment as it starts:
    Celery's worker asks `uname`, perhaps later than the server serves.
    """
    found: list[psutil.Process] = []

    def is_whole() -> bool:
        found[:] = running.family()
        return len(found) == 4

    eventually(is_whole, why=lambda: f"{found} {running.output()}")
    return found


def ends_whole(running: Running, port: int, number: signal.Signals) -> None:
    """Send the signal; it must end with status 0, and nothing of it go on."""
    family = whole_family(running)
    running.process.send_signal(number)
    eventually(running.has_ended, why=running.output)
    assert running.process.returncode == 0, running.output()
    _, alive = psutil.wait_procs(family, timeout=DEADLINE)
    assert alive == []
    assert not is_open(port)


def test_what_it_prints_is_true_and_stays_so_and_it_ends_whole(migrated: Example) -> None:
    port = free_port()
    with demo(migrated, *LAUNCHER, port=port) as running:
        here = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=here, timeout=30) as client:
            assert f"{here}/mcp" in client.get("/").text
            can_log_in(client, *credentials(running))
            (dashboard,) = re.findall(r"Dashboard +(\S+)", running.output())
            assert "Session dashboard" in client.get(dashboard).text
            assert f"PORT={port + 1} make demo" in running.output()
            assert client.get("/static/admin/css/base.css").status_code == 200
            a_visitor_can_call(client)
        two_users_can_call(running.output())
        ends_whole(running, port, signal.SIGINT)
        printed = credentials(running), tokens(migrated)
    with again(migrated) as running:
        assert (credentials(running), tokens(migrated)) == printed
        assert [name for name, _ in printed[1]] == ["ann", "ben"]
        assert migrated.query("SELECT count(*) FROM helpdesk_ticket") == [(320,)]


@contextlib.contextmanager
def again(example: Example) -> Iterator[Running]:
    """Run it once more, by make where that is there. Killed outright, make passes nothing on."""
    port = free_port()
    # `-o` keeps make from installing anything: the tests run on what is there.
    by_make = ("make", "-o", ".venv/bin/python", "-o", ".venv/.installed", "demo")
    with demo(example, *(by_make if shutil.which("make") else LAUNCHER), port=port) as running:
        yield running
        family = running.family()
        running.process.send_signal(signal.SIGKILL if shutil.which("make") else signal.SIGTERM)
        eventually(lambda: not any(member.is_running() for member in family[1:]), why=running.output)
        assert not is_open(port)


def tokens(example: Example) -> list[tuple[object, ...]]:
    return example.query(
        "SELECT username, digest FROM helpdesk_usertoken JOIN auth_user ON auth_user.id = user_id"
    )


def a_visitor_can_call(client: httpx.Client) -> None:
    """As the website shows."""
    page = html.unescape(client.get("/").text)
    initialize, call = re.findall(r"curl .*?-d '(.*?)'", page, re.DOTALL)
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    opened = client.post("/mcp", content=initialize, headers=headers)
    headers["Mcp-Session-Id"] = opened.headers["Mcp-Session-Id"]
    called = client.post("/mcp", content=call, headers=headers)
    assert called.json()["result"]["structuredContent"] == {"result": [3]}


def two_users_can_call(printed: str) -> None:
    """By the line for a shell; each sees another worklist, whatever a visitor has."""
    (call,) = re.findall(r"^curl .*?}}}}'$", printed, re.DOTALL | re.MULTILINE)
    (token,) = re.findall(r"ben, whose token is in (\S+)", printed)
    another = call.replace('"ticket_id": 3', '"ticket_id": 5')
    as_ben = re.sub(r"\$\(cat \S+\)", f"$(cat {token})", another)
    assert Path(token).stat().st_mode & 0o077 == 0
    if shutil.which("curl"):
        assert [worklist(command) for command in (call, another, as_ben)] == [[3], [3, 5], [5]]


def worklist(command: str) -> list[int]:
    """What a tool of the worklist returns that is called by a line of a shell."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120, check=True)
    return list(json.loads(done.stdout)["result"]["structuredContent"]["result"])


def credentials(running: Running) -> tuple[str, str]:
    found = re.search(r"name (\S+), password (\S+)", running.output())
    assert found
    return found[1], found[2]


def can_log_in(client: httpx.Client, name: str, password: str) -> None:
    client.get("/admin/login/")
    token = client.cookies["csrftoken"]
    form = {"username": name, "password": password, "csrfmiddlewaretoken": token}
    answer = client.post("/admin/login/?next=/admin/", data=form)
    assert (answer.status_code, answer.headers.get("Location")) == (302, "/admin/")


def test_a_port_in_use_is_said(migrated: Example) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = migrated.run(*LAUNCHER, PORT=str(port))
    assert done.returncode == 1
    assert f"Port {port} cannot be used: Address already in use." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_that_cannot_be_is_said(migrated: Example) -> None:
    done = migrated.run(*LAUNCHER, MCP_SESSION_STORE="tape")
    assert done.returncode == 1
    assert "MCP_SESSION_STORE='tape' is not known" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_that_asks_for_the_end_is_heard(number: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        ending = Ending()
        ending.pause()
        signal.raise_signal(number)
        with pytest.raises(Stopped):
            ending.pause()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_when_one_dies_the_others_end_too(migrated: Example) -> None:
    port = free_port()
    with demo(migrated, *LAUNCHER, port=port) as running:
        launcher, *children = whole_family(running)
        [victim] = [child for child in children if "beat" in child.cmdline()]
        victim.kill()
        eventually(running.has_ended, why=running.output)
        assert launcher.returncode == 1
        assert "The beat has ended by itself (exit status -9)." in running.output()
        assert psutil.wait_procs(children, timeout=DEADLINE)[1] == []


def test_the_server_whose_log_is_the_demos_own_is_missed_too() -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"]) as process:
        process.wait(DEADLINE)
        with pytest.raises(DemoFailed, match=r"^The server has ended by itself \(exit status 7\)\.$"):
            check_alive([Child("server", process, None)])
