"""The coverage-guided fuzzer, for a few seconds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import BOTH, JSON, ME, OWN, message, text

pytest.importorskip("atheris", reason="has wheels for Linux on x86-64 alone")

SECONDS = 5


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_it_finds_nothing(tmp_path: Path) -> None:
    done = run("--seconds", f"{SECONDS}", "--directory", str(tmp_path))
    assert done.returncode == 0, done.stderr[-5000:]
    found = re.search(r"stat::new_units_added:\s+(\d+)", done.stderr)
    assert found and int(found[1]) > 0, "coverage guides it"


def test_an_input_is_sent_again(tmp_path: Path) -> None:
    """And is an error if it still breaks something."""
    fine = tmp_path / "fine"
    fine.write_bytes(text(message("ping"), ME, JSON, BOTH, OWN))
    done = run(str(fine))
    assert done.returncode == 0, done.stderr[-2000:]
