"""The documentation as a site: it builds without a warning, is complete, and loads nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from configparser import ConfigParser
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from django import VERSION as DJANGO_VERSION
from django.db import connections

ROOT: Final = Path(__file__).resolve().parent.parent
LOADED: Final = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
"""What a page loads by itself, and the attribute that says from where."""
KEPT_OUT: Final = {"canonical", "edit", "next", "prev"}
"""Links that a browser does not follow by itself."""


class Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("rel") not in KEPT_OUT and (url := given.get(LOADED.get(tag, ""))):
            self.found.append(url)


def test_the_site_builds_strictly_and_is_whole(tmp_path: Path) -> None:
    """One build for all of it: links, anchors, pages that no menu has, objects of the reference."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {page.name: page.read_text() for page in tmp_path.glob("*.html")}
    assert {page.with_suffix(".html").name for page in (ROOT / "docs").glob("*.md")} < set(pages)
    for name, page in pages.items():
        loads = Loads()
        loads.feed(page)
        assert [url for url in loads.found if "//" in url] == [], name
    assert "The session of the call that is running" in pages["reference.html"]
    assert "images/architecture.svg" in pages["architecture.html"]
    assert "images/session-life.svg" in pages["sessions.html"]


def rows() -> dict[str, list[list[str]]]:
    """The rows of docs/compatibility.md, by what is in their first cells."""
    page = (ROOT / "docs/compatibility.md").read_text()
    found: dict[str, list[list[str]]] = {}
    for line in re.findall(r"^\| (.+) \|$", page, re.MULTILINE):
        name, *cells = re.split(r" \| ", line)
        found.setdefault(name.partition(",")[0], []).append(cells)
    return found


@pytest.mark.parametrize(
    "name",
    [
        *("mcp", "fastmcp", "channels", "daphne", "celery", "channels_redis", "redis", "psycopg", "PyMySQL"),
        *("uvicorn", "gunicorn"),
    ],
)
def test_the_page_on_versions_has_those_that_are_tested(name: str) -> None:
    pinned = dict(
        re.findall(r"^([\w-]+)(?:\[.*\])?==([\w.]+)", _read("requirements.txt", "requirements-dev.txt"), re.M)
    )
    # The official SDK 1.x has an environment and a row of its own.
    older = re.findall(r"^mcp==(.+)$", _read("tests/e2e/python1/requirements.txt"), re.M)
    expected = {pinned[name], *(older if name == "mcp" else ())}
    assert {cells[0] for cells in rows()[name]} == expected


def test_the_page_on_versions_has_the_clients_of_npm() -> None:
    package = json.loads((ROOT / "tests/e2e/node/package.json").read_text())
    pinned = defaultdict[str, list[str]](list)
    for name, version in package["dependencies"].items():
        # A second version of a package has a name of its own: npm:package@version.
        alias = re.fullmatch(r"npm:(.+)@(.+)", version)
        pinned[alias[1] if alias else name].append(alias[2] if alias else version)
    for name, versions in pinned.items():
        assert [cells[0] for cells in rows()[name]] == versions


def test_the_page_on_versions_has_the_classifiers() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    page = "".join(" ".join(cells) + "\n" for name in ("Python", "Django") for cells in rows()[name])
    classifiers = re.findall(r"(?:Python|Django) :: (\d\.\d+)$", setup["metadata"]["classifiers"], re.M)
    assert len(classifiers) == 4
    assert all(version in page for version in classifiers)
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["target-version"]
    assert setup["options"]["python_requires"] == ">=3.11" == f">={python[2]}.{python[3:]}"
    if DJANGO_VERSION < (6,):
        assert rows()["Django"][0][0] == ".".join(map(str, DJANGO_VERSION[:3]))


@pytest.mark.skipif(not os.environ.get("CI"), reason="the versions are those of CI")
def test_the_page_on_versions_has_the_services(django_db_blocker: Any) -> None:
    assert _redis_version().startswith(rows()["Redis"][0][0])
    with django_db_blocker.unblock():
        for name, alias in {"PostgreSQL": "postgres", "MariaDB": "mariadb"}.items():
            assert _database_version(alias).startswith(rows()[name][0][0])


def _redis_version() -> str:
    with redis.Redis() as client:
        return str(client.info("server")["redis_version"])


def _database_version(alias: str) -> str:
    """Of its server: no database of it need be there."""
    with connections[alias]._nodb_cursor() as cursor:
        cursor.execute("SELECT version()")
        return str(cursor.fetchone()[0]).removeprefix("PostgreSQL ")


def _read(*names: str) -> str:
    return "".join((ROOT / name).read_text() for name in names)
