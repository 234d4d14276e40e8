"""The tests of a project that uses the app: they end as they would without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from django.conf import settings

OWN_SETTINGS: Final = """
from tests.settings import *
from tests.settings import DATABASES as SERVERS
DATABASES = {"default": {**SERVERS["postgres"], "TEST": {"NAME": SERVERS["postgres"]["NAME"] + "_own"}}}
"""

USES_THE_APP: Final = """
from django.test import TransactionTestCase
from mcp_sessions import load_session
from mcp_sessions.exceptions import SessionNotFound

class Case(TransactionTestCase):
    def test_it(self):
        with self.assertRaises(SessionNotFound):
            load_session("A" * 32)
"""


def test_a_test_run_can_drop_its_database(tmp_path: Path) -> None:
    if "postgres" not in settings.DATABASES:
        if os.environ.get("CI"):
            pytest.fail("no PostgreSQL answers")
        pytest.skip("no PostgreSQL answers")
    (tmp_path / "test_shop.py").write_text(USES_THE_APP)
    (tmp_path / "own_settings.py").write_text(OWN_SETTINGS)
    paths = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    run = subprocess.run(
        [sys.executable, "-m", "django", "test", "test_shop", "--noinput"],
        env={**os.environ, "PYTHONPATH": paths, "DJANGO_SETTINGS_MODULE": "own_settings"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-1000:]
