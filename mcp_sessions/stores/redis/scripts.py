"""The Lua scripts: one for each verb, with the shared parts that its header names.

`-- uses: a b` in a file means shared/a.lua and shared/b.lua, and what they use. Those come first, each once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_USES: Final = re.compile(r"^-- uses: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """What Redis runs, and the name it knows it by once it has run it."""

    source: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script of a verb."""
    source = "\n".join(_read(path) for path in dict.fromkeys(_parts(name)))
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _parts(path: str) -> Iterator[str]:
    """The files that make a script, in the order in which they are needed."""
    for names in _USES.findall(_read(path)):
        for name in names.split():
            yield from _parts(f"shared/{name}")
    yield path


@cache
def _read(path: str) -> str:
    return files(__package__).joinpath("lua", f"{path}.lua").read_text(encoding="utf-8")
