"""`make demo` from outside: what it serves, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.example.conftest import Example, Running, eventually
from tests.harness.ports import free_port, is_open

LAUNCHER = (sys.executable, "-m", "example_project.demo")
JSON = {"Content-Type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


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
    _, alive = psutil.wait_procs(family, timeout=1)
    assert alive == []
    assert not is_open(port)


def test_what_it_prints_is_true_and_it_ends_whole(migrated: Example) -> None:
    port = free_port()
    with demo(migrated, *LAUNCHER, port=port) as running:
        here = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=here, timeout=30) as client:
            assert f"{here}/mcp" in client.get("/").text
            headers = {"Accept": "application/json, text/event-stream"}
            opened = client.post("/mcp", json=INITIALIZE, headers=headers)
            assert opened.json()["result"]["serverInfo"]["name"] == "helpdesk"
            session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
            (called,) = re.findall(r"Mcp-Session-Id: .*?-d '(.*?)'", running.output(), re.DOTALL)
            again = client.post("/mcp", content=called, headers={**headers, **session, **JSON})
            assert again.json()["result"]["isError"] is False, again.text
            can_log_in(client, *credentials(running))
            (dashboard,) = re.findall(r"Dashboard +(\S+)", running.output())
            assert "Session dashboard" in client.get(dashboard).text
            assert f"PORT={port + 1} make demo" in running.output()
            assert client.get("/static/admin/css/base.css").status_code == 200
        ends_whole(running, port, signal.SIGINT)


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


def test_again_it_says_the_same_and_loads_nothing_twice(migrated: Example) -> None:
    printed = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        port = free_port()
        with demo(migrated, *LAUNCHER, port=port) as running:
            printed.append(credentials(running))
            ends_whole(running, port, number)
    assert printed[0] == printed[1]
    assert migrated.query("SELECT count(*) FROM helpdesk_ticket") == [(320,)]


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


@pytest.mark.parametrize(("name", "part"), [("server", "runserver"), ("beat", "beat")])
def test_when_one_dies_the_others_end_too(migrated: Example, name: str, part: str) -> None:
    port = free_port()
    with demo(migrated, *LAUNCHER, port=port) as running:
        launcher, *children = whole_family(running)
        [victim] = [child for child in children if part in child.cmdline()]
        victim.kill()
        eventually(running.has_ended, why=running.output)
        assert launcher.returncode == 1
        assert f"The {name} has ended by itself (exit status -9)." in running.output()
        assert psutil.wait_procs(children, timeout=1)[1] == []


@pytest.mark.skipif(not shutil.which("make"), reason="make is not there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_when_make_is_ended_the_demo_ends(migrated: Example, number: signal.Signals) -> None:
    port = free_port()
    # `-o` keeps make from installing anything: the tests run on what is there.
    command = ("make", "-o", ".venv/bin/python", "-o", ".venv/.installed", "demo")
    with demo(migrated, *command, port=port) as running:
        family = running.family()
        running.process.send_signal(number)
        eventually(lambda: not any(member.is_running() for member in family[1:]), why=running.output)
        assert not is_open(port)
