"""The layers of docs/architecture.md: imports point down, and each foreign library has its places.

Every import counts: those inside functions and those for type checkers only, too.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

import mcp_sessions

PACKAGE: Final = "mcp_sessions"
SOURCES: Final = Path(mcp_sessions.__file__).parent
PUBLIC: Final = "__init__"
"""The public names. Nothing inside imports them."""

# Modules by layer, from the lowest up. In one layer a module may import those before it in its row,
# and none of another row. Within a package each module may import each other one.
LAYERS: Final[dict[int, list[list[str]]]] = {
    1: [["exceptions", "conf"], ["signals"], ["isolation"], ["context_values"]],
    2: [
        ["records", "lifetimes", "logs"],
        ["principals", "exchange", "asgi", "backpressure"],
        ["jsonrpc"],
        ["sealing", "sse"],
        ["identifiers"],
        ["gcra"],
    ],
    3: [["models", "migrations"]],
    4: [["security"], ["stores", "metrics"]],
    5: [
        [
            "runtime",
            "background",
            "completion",
            "commits",
            "deferred",
            "receivers",
            "signal_queue",
            "delivery",
            "analytics",
            "refusals",
            "throttling",
            "lifecycle",
            "messages",
            "state",
        ]
    ],
    6: [["protocol"]],
    7: [
        ["views"],
        ["consumers"],
        ["middleware"],
        ["admin"],
        ["tasks"],
        ["management"],
        ["checks", "accounts", "apps"],
    ],
    8: [["urls"], ["stopping", "routing", "testing"]],
    9: [[PUBLIC]],
}
PLACES: Final = {
    top: (layer, row, place)
    for layer, rows in LAYERS.items()
    for row, names in enumerate(rows)
    for place, top in enumerate(names)
}

# Who may import what, besides what the layers allow: a prefix of module names → prefixes of files.
ONLY: Final = {
    "mcp_sessions.models": ["stores/database/", "admin", "analytics", "migrations/"],
    "mcp_sessions.stores.database": ["stores/database/"],
    "mcp_sessions.stores.memory": ["stores/memory"],
    "mcp_sessions.stores.redis": ["stores/redis"],
    "mcp": ["protocol/", "testing/"],
    "mcp_types": ["protocol/", "testing/"],
    "pytest": ["testing/"],
    "fastmcp": ["protocol/"],
    "starlette": ["protocol/", "routing"],
    "celery": ["tasks"],
    "redis": ["stores/redis"],
    "joserfc": ["security/authentication/"],
    "httpx": ["security/authentication/fetching"],
    "oauth2_provider": ["security/authentication/stored"],
    "oauthlib": ["security/authentication/stored"],
    "allauth": ["security/authentication/stored"],
    "datadog": ["metrics/statsd"],
    "prometheus_client": ["metrics/prometheus"],
    "opentelemetry": ["metrics/opentelemetry"],
    "channels": ["consumers", "routing", "delivery/", "runtime"],
}
# Layers that must not import these.
NEVER: Final = {"django.db": (1, 2)}


@dataclass(frozen=True)
class Import:
    """`module` imported by a file, on a line; `path` is the file without its suffix, within the package."""

    path: str
    line: int
    module: str

    @property
    def top(self) -> str:
        return self.path.split("/")[0]

    @property
    def imported_top(self) -> str | None:
        """What of ours is imported: the public names if it is the package itself."""
        head, _, rest = self.module.partition(".")
        if head != PACKAGE:
            return None
        return rest.split(".")[0] if rest else PUBLIC

    def __str__(self) -> str:
        return f"{self.path}.py:{self.line} imports {self.module}"


def files(package: Path) -> dict[str, str]:
    return {
        path.relative_to(package).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(package.rglob("*.py"))
    }


def imports(path: str, source: str, modules: set[str]) -> Iterator[Import]:
    """Every import of a file; of `from a import b` it is `a.b` where that is a module of ours."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = resolved(path, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(path, node.lineno, inner if inner in modules else base)


def resolved(path: str, node: ast.ImportFrom) -> str:
    """The module that is imported from, also where it is named by dots."""
    if not node.level:
        return node.module or ""
    parts = [PACKAGE, *path.split("/")][: -node.level]
    return ".".join([*parts, *([node.module] if node.module else [])])


def is_within(name: str, prefix: str, separator: str) -> bool:
    return name == prefix or name.startswith(prefix.rstrip(separator) + separator)


def problems(sources: dict[str, str]) -> list[str]:
    """Everything in these files that the layers do not allow."""
    modules = {f"{PACKAGE}.{path.removesuffix('/__init__').replace('/', '.')}" for path in sources}
    found = [f"{path}.py is in no layer" for path in sources if path.split("/")[0] not in PLACES]
    for path, source in sources.items():
        for each in imports(path, source, modules):
            found.extend(f"{each}: {why}" for why in objections(each))
    return found


def circles(sources: dict[str, str]) -> list[list[str]]:
    """Files of a package that import each other, perhaps over others. Imports in functions count, too."""
    names = {f"{PACKAGE}.{path.removesuffix('/__init__').replace('/', '.')}": path for path in sources}
    below = {
        path: {names[each.module] for each in imports(path, source, set(names)) if each.module in names}
        for path, source in sources.items()
    }
    reached = {path: _reached(path, below) for path in below}
    rings = {
        tuple(sorted(other for other in seen if path in reached[other])) for path, seen in reached.items()
    }
    return sorted(list(ring) for ring in rings if len(ring) > 1)


def _reached(path: str, below: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        new = below[waiting.pop()] - seen
        seen |= new
        waiting.extend(new)
    return seen


def objections(each: Import) -> Iterator[str]:
    for prefix, places in ONLY.items():
        if is_within(each.module, prefix, ".") and not any(is_within(each.path, p, "/") for p in places):
            yield f"only {', '.join(places)} may"
    if each.top not in PLACES:
        return
    for prefix, layers in NEVER.items():
        if is_within(each.module, prefix, ".") and PLACES[each.top][0] in layers:
            yield f"layer {PLACES[each.top][0]} must not"
    if each.imported_top is not None and not points_down(each.top, each.imported_top):
        yield "imports point down"


def points_down(top: str, imported: str) -> bool:
    if imported not in PLACES:
        return False
    (layer, row, place), (below, row_below, place_below) = PLACES[top], PLACES[imported]
    if layer != below:
        return layer > below
    return row == row_below and place >= place_below


def is_late(source: str) -> bool:
    """Whether a file imports nothing of ours while it is loaded."""
    return not any(
        isinstance(node, ast.Import | ast.ImportFrom) and PACKAGE in ast.unparse(node)
        for node in ast.parse(source).body
    )


def test_imports_point_down() -> None:
    assert problems(files(SOURCES)) == []


def test_the_documentation_has_every_layer() -> None:
    page = (SOURCES.parent / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", page, re.MULTILINE)
    shown = {int(layer): set(re.findall(r"\w+", names)) for layer, names in rows}
    assert shown == {layer: {name for row in rows for name in row} for layer, rows in LAYERS.items()}


def test_no_file_imports_itself_over_others() -> None:
    assert circles(files(SOURCES)) == []


def test_a_circle_is_seen() -> None:
    """Also over a third file, and within a function; what imports a circle is not in it."""
    sources = {
        "state/one": "from mcp_sessions.state.two import a",
        "state/two": "def f():\n    from .three import b",
        "state/three": "import mcp_sessions.state.one",
        "state/four": "from mcp_sessions.state import one, five",
        "state/five": "",
    }
    assert circles(sources) == [["state/one", "state/three", "state/two"]]


def test_the_public_names_are_imported_late() -> None:
    """Django imports the package before its apps are ready."""
    assert is_late(files(SOURCES)[PUBLIC])


def test_a_module_has_one_place() -> None:
    names = [top for rows in LAYERS.values() for row in rows for top in row]
    assert len(names) == len(set(names))


ALLOWED: Final = {
    "conf": "from mcp_sessions.exceptions import ConfigurationError",
    "asgi": "from mcp_sessions.exchange import Answer",
    "jsonrpc": "import json\nfrom django.conf import settings",
    "state": "from mcp_sessions import messages\nfrom .runtime import run",
    "delivery/hub": "from mcp_sessions.delivery.writer import Writer\nfrom ..records import Event",
    "stores/database/rows": "from mcp_sessions.models import Session\nimport django.db",
    "protocol/call": "import mcp.server\nfrom mcp_types import Tool\nfrom mcp_sessions.state import x",
    "routing": "from starlette.middleware import cors\nfrom mcp_sessions.consumers import StreamConsumer",
    "tasks": "def f():\n    from mcp_sessions import lifecycle\n    import celery",
    "apps": "def ready():\n    from mcp_sessions import checks",
    PUBLIC: "def f():\n    from mcp_sessions import state, messages",
}
REFUSED: Final = {
    # Up, sideways, and to the public names.
    "exceptions": "from mcp_sessions.conf import app_settings",
    "records": "from mcp_sessions.jsonrpc import Json",
    "models": "from mcp_sessions.stores import get_store",
    "runtime": "from mcp_sessions.delivery import Hub",
    "delivery/hub": "def f():\n    from mcp_sessions.lifecycle import end",
    "lifecycle": "if TYPE_CHECKING:\n    from mcp_sessions.state import SessionState",
    "messages": "from .state import get_session",
    "security/origins": "from ..stores import get_store",
    "stores/storable": "try:\n    import mcp_sessions.runtime\nexcept ImportError:\n    pass",
    "protocol/get": "from mcp_sessions.views import endpoint",
    "views": "from mcp_sessions.consumers import StreamConsumer",
    "checks": "from mcp_sessions import apps",
    "admin": "from mcp_sessions import get_session",
    "urls": "from mcp_sessions import routing",
    # Libraries outside of their places.
    "identifiers": "from django.db import models",
    "conf": "import django.db.models as m",
    "state": "import mcp",
    "protocol/post": "import celery",
    "consumers": "from starlette.responses import Response",
    "views/page": "from mcp.server import Server",
    "middleware": "class A:\n    def f(self):\n        import fastmcp.server",
    "tasks": "import redis",
    "metrics/base": "from mcp_sessions.lifecycle import keep_counting",
    "metrics/statsd": "import prometheus_client",
    "metrics/prometheus": "from datadog import statsd",
    "lifecycle/counting": "from opentelemetry import metrics",
    "stores/base": "from redis.asyncio import Redis",
    "stores/memory": "from mcp_sessions.models import Session",
    "management/commands/a": "from channels.layers import get_channel_layer",
    # Rows and concrete stores.
    "analytics_of": "",
    "protocol/streams": "from mcp_sessions import models",
    "routing": "from mcp_sessions.stores.database import DatabaseSessionStore",
    "helpers": "",
    "utils/text": "",
}


@pytest.mark.parametrize("path", ALLOWED)
def test_what_is_allowed(path: str) -> None:
    rest = {other: "" for other in files(SOURCES) if other != path}
    assert problems({**rest, path: ALLOWED[path]}) == []


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_not(path: str) -> None:
    rest = {other: "" for other in files(SOURCES) if other != path}
    (problem,) = problems({**rest, path: REFUSED[path]})
    assert problem.startswith(f"{path}.py")


def test_an_import_while_the_package_is_loaded_is_noticed() -> None:
    assert is_late("def f():\n    from mcp_sessions import state")
    assert not is_late("from mcp_sessions import state")
    assert not is_late("import mcp_sessions.state")


def test_the_mount_is_imported_before_django_is_set_up() -> None:
    """By every ASGI module that names it before it asks for Django's application."""
    subprocess.run([sys.executable, "-c", "import mcp_sessions.routing"], check=True, timeout=120)
