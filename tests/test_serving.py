"""A project in which nothing serves the endpoints is told so by `manage.py check`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import Warning
from django.urls import clear_url_caches
from django.utils.module_loading import import_string

from mcp_sessions.checks import check_settings, serving
from mcp_sessions.checks.serving import HINT, check_serving
from mcp_sessions.exceptions import ConfigurationError

MOUNTED = """
from mcp_sessions.routing import mount

async def django(scope, receive, send): ...

application = mount(django)
wrapped = lambda *asgi: application(*asgi)
"""
FORGOTTEN = "async def application(scope, receive, send): ..."
WITHOUT = "urlpatterns = []"
WITH = """
from django.urls import include, path
urlpatterns = [path("below/", include("mcp_sessions.urls"))]
"""

Project = Callable[..., None]


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any, request: pytest.FixtureRequest
) -> Iterator[Project]:
    """A project as `startproject` makes it, with these files."""
    name = f"project_{abs(hash(request.node.nodeid))}"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(serving, "mounts", type(serving.mounts)())
    monkeypatch.setattr("mcp_sessions.routing.mounts", serving.mounts)

    def make(urls: str = WITHOUT, **files: str) -> None:
        (tmp_path / name).mkdir()
        for file, source in {"urls": urls, "__init__": "", **files}.items():
            (tmp_path / name / f"{file}.py").write_text(source)
        settings.ROOT_URLCONF = f"{name}.urls"
        clear_url_caches()

    settings.MCP_SESSIONS = {"SERVER": "tests.servers:server"}
    yield make
    clear_url_caches()


def said() -> list[str]:
    found = list(check_serving())
    assert all(isinstance(each, Warning) and each.hint for each in found)
    return [f"{each.id} {each.msg}" for each in found]


def test_the_mount_line_was_forgotten(project: Project, settings: Any) -> None:
    project(asgi=FORGOTTEN)
    application = f"{settings.ROOT_URLCONF.removesuffix('.urls')}.asgi.application"
    message = f"No endpoint is served: {application} has no mount, and no URL leads to one."
    assert [*check_serving()] == [Warning(message, hint=HINT, id="mcp_sessions.W010")]


def test_the_mount_is_found_where_servers_look_for_it(project: Project) -> None:
    project(asgi=MOUNTED)
    assert said() == []


def test_the_mount_may_be_wrapped_and_elsewhere(project: Project, settings: Any) -> None:
    project(asgi=FORGOTTEN, other=MOUNTED)
    settings.ASGI_APPLICATION = settings.ROOT_URLCONF.replace("urls", "other.wrapped")
    assert said() == []


def test_a_mount_that_refuses_the_settings_is_there(project: Project, settings: Any) -> None:
    """What it refuses has an error of its own, which says what is wrong."""
    settings.MCP_SESSIONS = {"SERVER": "tests.servers:server", "AUTHENTICATORS": ["os.Nobody"]}
    project(asgi=MOUNTED)
    assert [each.id for each in check_settings()] == ["mcp_sessions.E030"]
    with pytest.raises(ConfigurationError, match=r'"Nobody" attribute/class\. .* has the authenticators'):
        import_string(f"{settings.ROOT_URLCONF.removesuffix('.urls')}.asgi.application")


def test_there_is_no_asgi_module(project: Project) -> None:
    project()
    (found,) = said()
    assert found.startswith("mcp_sessions.W010 No endpoint is served: there is no project_")


def test_the_asgi_module_fails(project: Project) -> None:
    project(asgi="import nowhere")
    (found,) = said()
    assert "cannot be imported (No module named 'nowhere'), and no URL leads to one." in found


@pytest.mark.parametrize("asgi", [FORGOTTEN, MOUNTED])
def test_urls_serve_wherever_they_are_included(
    project: Project, asgi: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(urls=WITH, asgi=asgi)
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver"])
    assert said() == []


def test_a_runserver_without_daphne_serves_no_mount(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(asgi=MOUNTED)
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver", "--noreload"])
    (found,) = said()
    assert found.startswith("mcp_sessions.W011 This runserver serves no endpoint: it does not run project_")
    monkeypatch.setattr(serving, "get_commands", lambda: {"runserver": "daphne"})
    assert said() == []
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])
    monkeypatch.setattr(serving, "get_commands", lambda: {"runserver": "django.core"})
    assert said() == []


def test_the_mount_is_imported_before_apps_are_ready() -> None:
    """As the first lines of an asgi.py do."""
    command = [sys.executable, "-c", "import mcp_sessions.routing"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
