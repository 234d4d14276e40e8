"""What the app costs every process of its project: the imports of `django.setup()`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from typing import Any, Final

import pytest

MAX_MODULES: Final = 75
"""Of this app, that `django.setup()` may import: 46 of them took 0.1 s and 3 MB; a server has 200."""

A_PROJECT: Final = """
import json, sys
from django.conf import settings
from django.core import checks
import django

settings.configure(
    SECRET_KEY="long enough that no check has anything to say about it, which takes fifty characters",
    USE_TZ=True,
    INSTALLED_APPS=[
        *(f"django.contrib.{app}" for app in ("admin", "auth", "contenttypes", "sessions", "messages")),
        "mcp_sessions",
    ],
    MCP_SESSIONS={"SERVER": "tests.servers:other"},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)

stages = {}
django.setup()
stages["setup"] = sorted(sys.modules)
import mcp_sessions
dir(mcp_sessions), mcp_sessions.session_ended, mcp_sessions.SessionNotFound
stages["names"] = sorted(sys.modules)
checks.run_checks(tags=["mcp_sessions"])
stages["checks"] = sorted(sys.modules)
print(json.dumps(stages))
"""


@pytest.fixture(scope="module")
def stages() -> dict[str, set[str]]:
    """The names of the modules that are there after each stage."""
    run = subprocess.run([sys.executable, "-c", A_PROJECT], check=True, capture_output=True, text=True)
    said: dict[str, Any] = json.loads(run.stdout)
    return {stage: set(names) for stage, names in said.items()}


def test_setup_imports_django_and_little_of_the_app(stages: dict[str, set[str]]) -> None:
    """Neither the SDK nor Twisted, django-eventstream, cryptography or Channels."""
    libraries = {name.partition(".")[0] for name in stages["setup"]} & packages_distributions().keys()
    of_django = {"django", "asgiref", "sqlparse", "colorama", "tzdata"}
    assert libraries - {"_distutils_hack"} <= {*of_django, "mcp_sessions"}
    ours = {name for name in stages["setup"] if name.partition(".")[0] == "mcp_sessions"}
    assert len(ours) <= MAX_MODULES, sorted(ours)


def test_a_name_of_the_package_imports_what_it_needs(stages: dict[str, set[str]]) -> None:
    new = stages["names"] - stages["setup"]
    assert new <= {"mcp_sessions.exceptions", "mcp_sessions.signals"}


def test_checks_import_the_server_objects_when_they_run(stages: dict[str, set[str]]) -> None:
    assert "tests.servers" in stages["checks"] - stages["setup"]
    assert "mcp" in stages["checks"] - stages["setup"]
