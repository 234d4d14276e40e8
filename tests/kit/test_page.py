"""The examples of docs/testing.md, as the tests of a project that has them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = re.compile(r"<!-- tested: (\w+) -->\n```python\n(.*?)```", re.DOTALL)
SETTINGS: Final = """
SECRET_KEY = "for tests"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "mcp_sessions"]
MCP_SESSIONS = {"SERVER": "tools:server", "DRAIN_SECONDS": 1}
ROOT_URLCONF = "urls"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    shown = dict(EXAMPLE.findall((ROOT / "docs/testing.md").read_text()))
    assert set(shown) == {"tools", "conftest", "pytest", "django", "sqlite", "guide", "revisions"}
    files = {
        "settings.py": SETTINGS + shown["sqlite"],
        "urls.py": "urlpatterns = []\n",
        "tools.py": shown["tools"],
        "conftest.py": shown["conftest"],
        "test_basket.py": shown["pytest"],
        "test_revisions.py": shown["revisions"],
        "test_guide.py": shown["guide"],
        "test_cases.py": shown["django"],
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def run(project: Path, *command: str) -> str:
    """What the project's test run says; its status must be 0."""
    env = {**os.environ, "PYTHONPATH": str(project), "DJANGO_SETTINGS_MODULE": "settings"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=project, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_with_pytest(project: Path) -> None:
    options = ("-q", "--rootdir=.", "-W", "error", "-o", "asyncio_default_fixture_loop_scope=function")
    assert "6 passed" in run(project, "pytest", *options)


def test_with_djangos_runner(project: Path) -> None:
    assert "Ran 1 test" in run(project, "django", "test", "test_cases", "--noinput")
