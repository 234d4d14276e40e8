"""The official conformance suite against a server of our own, behind mcp_sessions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import StartServer
from tests.harness.node import Node
from tests.harness.server import Kind

SUITE: Final = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
SERVER: Final = "tests.e2e.servers.conformance:server"
SUITE_DEADLINE: Final = 300
SCENARIOS: Final = 32
CHECKS: Final = 44
# Besides the 44: the suite warns where they fail, and official servers do not pass them.
POLLING_CHECKS: Final = 3


@pytest.mark.parametrize(("kind", "is_strict"), [("uvicorn", False), ("daphne", True)])
def test_every_check_of_the_suite_succeeds(
    kind: Kind, is_strict: bool, start_server: StartServer, node: Callable[[], Node], tmp_path: Path
) -> None:
    strict = {"E2E_MCP_SESSIONS": json.dumps({"STRICT_ACCEPT": is_strict})}
    server = start_server(kind=kind, server=SERVER, env=strict)
    printed = subprocess.run(
        node().command(SUITE, "server", "--url", server.url, "--suite", "all", "-o", str(tmp_path)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SUITE_DEADLINE,
    )
    reports = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("*/checks.json")}
    assert len(reports) == SCENARIOS, printed.stdout + printed.stderr
    assert not (missed := _missed(reports)), json.dumps(missed, indent=2)
    assert _counted(reports) == (CHECKS, POLLING_CHECKS), printed.stdout
    assert printed.returncode == 0, printed.stdout + printed.stderr


def _missed(reports: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        check
        for checks in reports.values()
        for check in checks
        if check["status"] != "SUCCESS" and not _is_information(check)
    ]


def _is_information(check: dict[str, Any]) -> bool:
    """What the suite writes down without judging it: its steps, and that an answer needed no stream."""
    return bool(check["status"] == "INFO")


def _counted(reports: dict[str, list[dict[str, Any]]]) -> tuple[int, int]:
    """Checks outside and inside the polling scenario, whose steps are logged as checks too."""
    inside = [check for name, checks in reports.items() if "server-sse-polling" in name for check in checks]
    return (
        sum(map(len, reports.values())) - len(inside),
        sum(check["status"] == "SUCCESS" for check in inside),
    )
