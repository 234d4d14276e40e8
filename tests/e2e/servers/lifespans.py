"""A lifespan writes down when it is entered and left, and in which process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

VARIABLE: Final = "E2E_LIFESPAN_FILE"


@contextmanager
def noted() -> Iterator[None]:
    _note("entered")
    try:
        yield
    finally:
        _note("left")


def _note(what: str) -> None:
    with Path(os.environ[VARIABLE]).open("a") as file:
        file.write(f"{what} {os.getpid()}\n")
