"""The official conformance suite against a server of our own, behind mcp_sessions."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import StartServer
from tests.harness.node import Node
from tests.harness.server import KINDS, Kind

SUITE: Final = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
SERVER: Final = "tests.e2e.servers.conformance:server"
SUITE_DEADLINE: Final = 300
SCENARIOS: Final = 32
CHECKS: Final = 44
# The suite reports their absence as warnings, and counts them as passed when they are there.
POLLING_CHECKS: Final = 3


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_of_the_suite_succeeds(
    kind: Kind, start_server: StartServer, node: Callable[[], Node], tmp_path: Path
) -> None:
    server = start_server(kind=kind, server=SERVER)
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
    assert _successes(reports) == (CHECKS, POLLING_CHECKS), printed.stdout
    assert printed.returncode == 0, printed.stdout + printed.stderr


def _missed(reports: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        check
        for checks in reports.values()
        for check in checks
        if check["status"] not in {"SUCCESS", "INFO", "SKIPPED"}
    ]


def _successes(reports: dict[str, list[dict[str, Any]]]) -> tuple[int, int]:
    passed = Counter(
        "server-sse-polling" in name
        for name, checks in reports.items()
        for check in checks
        if check["status"] == "SUCCESS"
    )
    return passed[False], passed[True]
