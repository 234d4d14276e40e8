"""Where tools of any process wait until their test lets them go on, and say what became of them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final
from uuid import uuid4

FOLDER: Final = "E2E_GATES"
"""The environment variable by which a server process is told the folder."""
POLL_SECONDS: Final = 0.01
DEADLINE: Final = 30.0


class Gates:
    """A folder that the test and every server process look into; an open gate is a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_process(cls) -> Gates:
        return cls(Path(os.environ[FOLDER]))

    def new(self) -> str:
        return uuid4().hex

    def open(self, name: str) -> None:
        (self.folder / name).touch()

    async def wait(self, name: str) -> None:
        """Wait, in a tool, until the gate is open."""
        while not (self.folder / name).exists():
            await asyncio.sleep(POLL_SECONDS)

    def note(self, name: str, what: str) -> None:
        """Say what has happened to the tool that the test knows by this gate."""
        with (self.folder / f"{name}.notes").open("a") as notes:
            notes.write(f"{what}\n")

    def notes(self, name: str) -> list[str]:
        file = self.folder / f"{name}.notes"
        return file.read_text().splitlines() if file.exists() else []

    async def noted(self, name: str, what: str) -> None:
        """Wait, in a test, until a tool has said so."""
        async with asyncio.timeout(DEADLINE):
            while what not in self.notes(name):
                await asyncio.sleep(POLL_SECONDS)
