"""The Lua scripts: one for each method, in a file for each behaviour.

A file has sections. `--- script load: sessions` begins what the method `load` runs, and names the parts that
it uses. `--- part sessions: keys` begins such a part, with the parts that it uses itself. Redis gets each
part once, in the order in which they are needed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_SECTION: Final = re.compile(r"^--- (part|script) (\w+)(?:: ([\w ]+))?\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """What Redis runs, and the name it knows it by once it has run it."""

    source: str
    sha: str


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of Lua, and the names of the parts that it uses."""

    code: str
    uses: tuple[str, ...]


@cache
def script(name: str) -> Script:
    """The script of a method."""
    source = "".join(section.code for section in dict.fromkeys(_needed(sections()["script", name])))
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _needed(section: Section) -> Iterator[Section]:
    """The parts that a section uses, in the order in which they are needed, and the section itself."""
    for name in section.uses:
        yield from _needed(sections()["part", name])
    yield section


@cache
def sections() -> dict[tuple[str, str], Section]:
    """By ("script" or "part", its name)."""
    found: dict[tuple[str, str], Section] = {}
    for file in files(__package__).joinpath("lua").iterdir():
        if file.name.endswith(".lua"):
            _, *pieces = _SECTION.split(file.read_text(encoding="utf-8"))
            for kind, name, uses, code in zip(*(pieces[i::4] for i in range(4)), strict=True):
                found[kind, name] = Section(code, tuple((uses or "").split()))
    return found
