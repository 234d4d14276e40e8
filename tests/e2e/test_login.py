"""docs/authentication.md, from an empty project to a client that is logged in: step by step, as it says."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.node import INSPECTOR, Node, NodeUnavailable, installed
from tests.harness.ports import free_port
from tests.harness.server import KINDS, Kind, ServerProcess
from tests.harness.services import unavailable
from tests.servers import DEADLINE

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = re.compile(r"<!-- tested: toolkit_(\w+) -->\n```python\n(.*?)```", re.DOTALL)
SETTINGS: Final = "shop.settings"
# It logs in where no terminal is, and keeps nothing.
WITHOUT_TERMINAL: Final = {"MCP_AUTO_OPEN_ENABLED": "true", "MCP_INSPECTOR_SECRET_STORE": "memory"}

BROWSER: Final = '''
"""A browser and its user, who logs in where a page asks for a password, and allows what is asked."""
import re
import sys
from html import unescape

import httpx

with httpx.Client(follow_redirects=True) as http:
    page = http.get(sys.argv[1])
    while "<form" in page.text:
        found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
        form = {unescape(name): unescape(value) for name, value in found}
        is_login = 'name="password"' in page.text
        form |= {"username": "ann", "password": "secret"} if is_login else {"allow": "Authorize"}
        page = http.post(page.url, data=form, headers={"Referer": str(page.url)})
        page.raise_for_status()
'''


@dataclass
class Project:
    """The project of the page, in a folder of its own. Only its ports are others."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.examples = dict(EXAMPLE.findall((ROOT / "docs/authentication.md").read_text()))
        self.env = {"PYTHONPATH": f"{self.folder}:{ROOT}", "DJANGO_SETTINGS_MODULE": SETTINGS}

    def example(self, name: str) -> str:
        return self.examples[name].replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")

    def create(self) -> None:
        self.run("-m", "django", "startproject", "shop", ".", DJANGO_SETTINGS_MODULE="")
        with (self.folder / "shop/settings.py").open("a") as settings:
            settings.write(self.example("settings"))
        for name in ("urls", "tools", "asgi"):
            (self.folder / f"shop/{name}.py").write_text(self.example(name))
        self.run("manage.py", "check", "--fail-level", "INFO")
        self.run("manage.py", "migrate", "--skip-checks", "-v0")
        who = ("--noinput", "--username", "ann", "--email", "ann@example.com")
        self.run("manage.py", "createsuperuser", *who, DJANGO_SUPERUSER_PASSWORD="secret")

    def run(self, *arguments: str, **env: str) -> str:
        """Run Python in the project; what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.env, **env},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self, kind: Kind) -> ServerProcess:
        server = ServerProcess(
            self.folder,
            kind=kind,
            settings=SETTINGS,
            application="shop.asgi:application",
            env=self.env,
            is_forked=False,
        )
        server.port = self.port
        return server

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.folder / "db.sqlite3")) as database:
            return database.execute(query).fetchall()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    if find_spec("oauth2_provider") is None:
        unavailable("django-oauth-toolkit is not installed")
    made = Project(tmp_path_factory.mktemp("shop"))
    made.create()
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_logs_in(project: Project, kind: Kind) -> None:
    """It is refused, finds out where to go, registers itself, and comes back with a token."""
    browser = project.folder / "browser.py"
    browser.write_text(BROWSER)
    client = project.folder / "client.py"
    client.write_text(project.example("client").replace(":3030", f":{free_port()}"))
    with project.serve(kind) as server:
        printed = project.run("client.py", BROWSER=f"{sys.executable} {browser} %s")
        assert printed.endswith("ann\n"), printed + server.log()
        # The token that was accepted is for this endpoint alone.
        issued = "SELECT resource FROM oauth2_provider_accesstoken WHERE scope = 'shop' ORDER BY id DESC"
        assert project.rows(issued)[0] == (f'["{server.url}"]',)
        assert set(project.rows("SELECT owner FROM mcp_sessions_session")) == {("user:1",)}
        assert server.tracebacks() == []


@pytest.fixture
def inspector(node: Callable[[], Node]) -> Node:
    """MCP Inspector, and the Node that the other packages have."""
    node()
    try:
        return installed(INSPECTOR)
    except NodeUnavailable as error:
        unavailable(str(error))


def test_the_inspector_logs_in(project: Project, inspector: Node) -> None:
    """MCP Inspector's command line, whose user opens the URL that it prints."""
    browser = project.folder / "browser.py"
    browser.write_text(BROWSER)
    with project.serve("uvicorn") as server:
        script = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
        where = ("--cli", server.url, "--transport", "http", "--format", "json")
        what = ("--method", "tools/call", "--tool-name", "who_am_i")
        callback = ("--callback-url", f"http://127.0.0.1:{free_port()}/oauth/callback")
        running = subprocess.Popen(
            inspector.command(script, *where, *what, *callback),
            env={**os.environ, "HOME": str(project.folder), **WITHOUT_TERMINAL},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with running:
            try:
                assert running.stderr is not None
                lines = iter(running.stderr.readline, "")
                url = next(line.split()[-1] for line in lines if "Please navigate to" in line)
                project.run(str(browser), url)
                printed, errors = running.communicate(timeout=DEADLINE)
            finally:
                running.kill()
        assert json.loads(printed)["result"]["content"][0]["text"] == "ann", errors
