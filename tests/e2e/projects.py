"""The project that a page of the docs makes, step by step, as the page says."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.harness.ports import free_port
from tests.harness.server import Kind, ServerProcess

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = re.compile(r"<!-- tested: (\w+) -->\n```python\n(.*?)```", re.DOTALL)
SETTINGS: Final = "shop.settings"


@dataclass
class Project:
    """It is in a folder of its own. Only its ports are others than the page's."""

    folder: Path
    page: str
    prefix: str = ""
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.examples = dict(EXAMPLE.findall((ROOT / self.page).read_text()))
        self.env = {"PYTHONPATH": f"{self.folder}:{ROOT}", "DJANGO_SETTINGS_MODULE": SETTINGS}

    def example(self, name: str) -> str:
        return self.examples[self.prefix + name].replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")

    def create(self) -> None:
        self.run("-m", "django", "startproject", "shop", ".", DJANGO_SETTINGS_MODULE="")
        with (self.folder / "shop/settings.py").open("a") as settings:
            settings.write(self.example("settings"))
        for name in ("urls", "tools", "asgi"):
            if self.prefix + name in self.examples:
                (self.folder / f"shop/{name}.py").write_text(self.example(name))
        self.run("manage.py", "check", "--fail-level", "INFO")
        self.run("manage.py", "migrate", "--skip-checks", "-v0")

    def run(self, *arguments: str, **env: str) -> str:
        """Run Python in the project; what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.env, **env},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self, kind: Kind) -> ServerProcess:
        server = ServerProcess(
            self.folder,
            kind=kind,
            settings=SETTINGS,
            application="shop.asgi:application",
            env=self.env,
            is_forked=False,
        )
        server.port = self.port
        return server

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.folder / "db.sqlite3")) as database:
            return database.execute(query).fetchall()
