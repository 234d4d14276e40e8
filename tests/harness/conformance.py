"""The official conformance suites, as npm has them: what is run of each, and what its checks say."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.harness.node import Node

PACKAGES: Final = "node_modules/@modelcontextprotocol/conformance", "node_modules/conformance-of-requirements"
DEADLINE: Final = 240
FOLDER_OF_REPORT: Final = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")

Reports = dict[str, list[dict[str, Any]]]
"""The checks of each scenario."""


@dataclass(frozen=True)
class Suite:
    package: str
    chosen: tuple[str, ...]
    """The options that choose the scenarios."""
    of_one: tuple[str, ...] = ()
    """The options of a scenario that is run by itself."""

    def run(self, url: str, node: Node, folder: Path) -> Reports:
        """All scenarios, in one process of Node."""
        return self._run(url, node, folder, self.chosen)

    def run_with_longer_waits(self, url: str, node: Node, folder: Path, scenarios: Iterable[str]) -> Reports:
        """Some of its scenarios, which wait longer: the suite expects a machine that is fast."""
        reports: Reports = {}
        for scenario in scenarios:
            options = ("--scenario", scenario, *self.of_one)
            reports |= self._run(url, node, folder, options, "--import", str(node.folder / "patient.mjs"))
        return reports

    def _run(self, url: str, node: Node, folder: Path, options: tuple[str, ...], *of_node: str) -> Reports:
        binary, script = node.command(f"{self.package}/dist/index.js")
        printed = subprocess.run(
            [binary, *of_node, script, "server", "--url", url, "-o", str(folder), *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        reports: Reports = {
            match["scenario"]: json.loads((path / "checks.json").read_text())
            for path in sorted(folder.iterdir())
            if (match := FOLDER_OF_REPORT.fullmatch(path.name))
        }
        assert reports, printed.stdout + printed.stderr
        return reports


OLDER: Final = Suite(PACKAGES[0], ("--suite", "all"))
"""Knows the revisions up to 2025-11-25."""


def requirements(revision: str) -> Suite:
    """What a server of this revision has to do."""
    return Suite(PACKAGES[1], ("--requirements", revision), ("--spec-version", revision))


def scored(revision: str, node: Node) -> list[str]:
    """The scenarios that a server of this revision has to pass; others are run besides."""
    text = (node.folder / PACKAGES[1] / "requirements" / f"{revision}.yaml").read_text()
    section = text.partition("\nserver:\n")[2].partition("\n\n")[0]
    return [line.removeprefix("  - ") for line in section.splitlines()]


def missed(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that did not succeed. INFO is what the suite writes down without judging it."""
    return [check for check in checks if check["status"] not in {"SUCCESS", "INFO"}]
