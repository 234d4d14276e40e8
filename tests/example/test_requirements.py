"""What `make demo` installs is enough for what it runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[2]
THE_PROCESSES: Final = """
import importlib, os, sys

class Hidden:
    names = set(sys.argv[1:])

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in cls.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden)
os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
import django
django.setup()
for name in ("example_project.demo", "example_project.asgi", "example_project.celery", "mcp_sessions.tasks"):
    importlib.import_module(name)
"""


def test_the_demo_runs_without_everything_else() -> None:
    """What this environment has besides is hidden from it."""
    there = installed("requirements.txt") | {"mcp-sessions"}
    hidden = [
        name
        for name, distributions in packages_distributions().items()
        if not {canonicalize_name(each) for each in distributions} & there
    ]
    assert {"psycopg", "redis", "fastmcp", "pytest"} <= set(hidden)
    run = subprocess.run(
        [sys.executable, "-c", THE_PROCESSES, *hidden], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def test_development_has_all_of_it() -> None:
    assert installed("requirements.txt") < installed("requirements-dev.txt")


def installed(file: str) -> set[str]:
    """The names of what pip installs by such a file, with what each needs."""
    found: set[str] = set()
    waiting = list(_required(ROOT / file))
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            waiting.extend(_needed_by(requirement))
    return found


def _required(file: Path) -> Iterator[Requirement]:
    for line in file.read_text().splitlines():
        if included := re.match(r"-r (\S+)", line):
            yield from _required(file.parent / included[1])
        elif line and not line.startswith("#"):
            yield Requirement(line)


def _needed_by(requirement: Requirement) -> Iterator[Requirement]:
    try:
        named = [Requirement(each) for each in requires(requirement.name) or ()]
    except PackageNotFoundError:
        return
    for each in named:
        extras = requirement.extras or {""}
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras):
            yield Requirement(re.sub(r";.*", "", str(each)))
