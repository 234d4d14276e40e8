"""The official Python SDK 1.x, in an environment of its own, installed by pip once."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.harness.services import unavailable

FOLDER: Final = Path(__file__).resolve().parents[1] / "e2e" / "python1"
INSTALL_DEADLINE: Final = 500
INSTALL_ATTEMPTS: Final = 3
"""An index that does not answer once is no reason for a test to fail."""


@dataclass(frozen=True)
class OlderPython:
    binary: Path

    def command(self) -> list[str]:
        return [str(self.binary), str(FOLDER / "client.py")]


@cache
def older_python() -> OlderPython:
    """The environment as its requirements name it: at once, or by pip. Skips the test where it cannot be."""
    environment, requirements = FOLDER / ".venv", FOLDER / "requirements.txt"
    with requirements.open("rb") as file:
        # Two test runs in one tree must not install at the same time.
        fcntl.flock(file, fcntl.LOCK_EX)
        digest = hashlib.sha256(file.read() + sys.version.encode()).hexdigest()
        stamp = environment / ".installed"
        if not stamp.exists() or stamp.read_text() != digest:
            _run(sys.executable, "-m", "venv", "--clear", str(environment))
            _install(environment, requirements)
            stamp.write_text(digest)
    return OlderPython(environment / "bin" / "python")


def _install(environment: Path, requirements: Path) -> None:
    command = (
        str(environment / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "-r",
        str(requirements),
    )
    for _ in range(INSTALL_ATTEMPTS):
        said = _run(*command)
        if said is None:
            return
    unavailable(f"pip could not install the official SDK 1.x:\n{said}")


def _run(*command: str) -> str | None:
    """What went wrong, if something did."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_DEADLINE
    )
    return done.stderr[-2000:] if done.returncode else None
