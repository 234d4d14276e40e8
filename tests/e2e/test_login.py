"""docs/authentication.md, from an empty project to a client that is logged in: step by step, as it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Final

import pytest

from tests.e2e.projects import Project
from tests.harness.inspecting import SCRIPT, WITHOUT_TERMINAL
from tests.harness.node import Node
from tests.harness.ports import free_port
from tests.harness.server import KINDS, Kind
from tests.harness.services import unavailable
from tests.servers import DEADLINE

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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    if find_spec("oauth2_provider") is None:
        unavailable("django-oauth-toolkit is not installed")
    made = Project(tmp_path_factory.mktemp("shop"), "docs/authentication.md", "toolkit_")
    made.create()
    who = ("--noinput", "--username", "ann", "--email", "ann@example.com")
    made.run("manage.py", "createsuperuser", *who, DJANGO_SUPERUSER_PASSWORD="secret")
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


def test_the_inspector_logs_in(project: Project, inspector: Node) -> None:
    """MCP Inspector's command line, whose user opens the URL that it prints."""
    browser = project.folder / "browser.py"
    browser.write_text(BROWSER)
    with project.serve("uvicorn") as server:
        where = ("--cli", server.url, "--transport", "http", "--format", "json")
        what = ("--method", "tools/call", "--tool-name", "who_am_i")
        callback = ("--callback-url", f"http://127.0.0.1:{free_port()}/oauth/callback")
        running = subprocess.Popen(
            inspector.command(SCRIPT, *where, *what, *callback),
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
