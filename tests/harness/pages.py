"""What the documentation's pages show, for the tests and for the servers that run it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = re.compile(r"<!-- tested: (\w+) -->\n```\w+\n(.*?)```", re.DOTALL)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def examples(name: str) -> dict[str, str]:
    """A page's examples that are tested, in whatever language, by their names."""
    return dict(EXAMPLE.findall(page(name)))
