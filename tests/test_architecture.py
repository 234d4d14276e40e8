"""The floors of docs/architecture.md: imports point down, and some packages have one importer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
APP: Final = "mcp_sessions"

# Room → floor. A room is a module of the app or a package with all that is in it. On a floor
# with an order of its own, a room may import those written before it.
FLOORS: Final[list[list[str]]] = [
    ["exceptions", "conf"],
    ["records", "exchange", "asgi", "jsonrpc", "sse", "identifiers"],
    ["models", "migrations"],
    ["stores", "security"],
    ["runtime", "delivery", "lifecycle", "messages", "state"],
    ["protocol"],
    ["apps", "checks", "views", "consumers", "middleware", "admin", "tasks", "management"],
    ["urls", "routing"],
]
DOORS: Final = frozenset(FLOORS[6])
FLOOR_OF: Final = {room: number for number, rooms in enumerate(FLOORS, 1) for room in rooms}
# apps only makes Django import the checks; the names in the app's __init__ are imported late.
EXCEPTIONS: Final = {("apps", "checks")}

# Package → who may import it.
ONLY: Final[dict[str, set[str]]] = {
    "mcp": {"protocol"},
    "mcp_types": {"protocol"},
    "fastmcp": {"protocol"},
    "starlette": {"protocol", "routing"},
    "celery": {"tasks"},
    "channels": {"consumers", "routing", "delivery", "runtime"},
    "redis": set(),
    f"{APP}.models": {"stores.database", "admin"},
}


def modules() -> list[Path]:
    return sorted(path for path in (ROOT / APP).rglob("*.py") if path != ROOT / APP / "__init__.py")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT / APP).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported(path: Path) -> Iterator[str]:
    """Every module that is imported anywhere in the file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from _names(node)


def _names(node: ast.ImportFrom) -> Iterator[str]:
    """`from mcp_sessions import sse` imports a module, `from mcp_sessions.sse import frame` a name."""
    module = node.module or ""
    if module == APP or (ROOT / module.replace(".", "/")).is_dir():
        yield from (f"{module}.{alias.name}" for alias in node.names)
    else:
        yield module


def room_of(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    room = room_of(name_of(path))
    assert room in FLOOR_OF, f"{room} has no floor: give it one here and in docs/architecture.md"
    for module in imported(path):
        if not module.startswith(f"{APP}."):
            continue
        other = room_of(module.removeprefix(f"{APP}."))
        if other == room or (room, other) in EXCEPTIONS:
            continue
        assert other in FLOOR_OF, f"{name_of(path)} imports {module}, which has no floor"
        assert is_below(other, room), f"{name_of(path)} imports {module}, which is not below it"


def is_below(other: str, room: str) -> bool:
    if FLOOR_OF[other] != FLOOR_OF[room]:
        return FLOOR_OF[other] < FLOOR_OF[room]
    rooms = FLOORS[FLOOR_OF[room] - 1]
    return room not in DOORS and rooms.index(other) < rooms.index(room)


@pytest.mark.parametrize("package", ONLY)
def test_some_packages_have_few_importers(package: str) -> None:
    for path in modules():
        name = name_of(path)
        if any(is_within(name, allowed) for allowed in ONLY[package]) or is_within(f"{APP}.{name}", package):
            continue
        found = [module for module in imported(path) if is_within(module, package)]
        assert not found, f"{name} imports {found}"


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_no_door_imports_a_concrete_store() -> None:
    backends = {f"{APP}.{name_of(path)}" for path in modules()} - {f"{APP}.stores.base"}
    backends = {each for each in backends if each.startswith(f"{APP}.stores.")}
    assert f"{APP}.stores.database" in backends
    for path in modules():
        name = name_of(path)
        if room_of(name) in DOORS or room_of(name) in {"models", "routing", "urls"}:
            assert not backends & set(imported(path)), name


def test_values_and_pure_functions_know_no_database() -> None:
    for path in modules():
        if FLOOR_OF[room_of(name_of(path))] <= 2:
            assert not [each for each in imported(path) if is_within(each, "django.db")], name_of(path)


def test_every_room_is_there_and_drawn() -> None:
    there = {room_of(name_of(path)) for path in modules()}
    assert there == set(FLOOR_OF)
    drawn = (ROOT / "docs/architecture.md").read_text()
    assert [room for room in there - {"migrations"} if room not in drawn] == []
