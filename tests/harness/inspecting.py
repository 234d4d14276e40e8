"""MCP Inspector's command line: a new client at each command."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.harness.node import Node

SCRIPT: Final = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
# It logs in where no terminal is, and keeps nothing.
WITHOUT_TERMINAL: Final = {"MCP_AUTO_OPEN_ENABLED": "true", "MCP_INSPECTOR_SECRET_STORE": "memory"}
NO_DEADLINE: Final = ("--connect-timeout", "0")
DEADLINE: Final = 300


@dataclass(frozen=True)
class Inspector:
    node: Node
    home: Path
    options: tuple[str, ...]
    """Which era it is told to speak; nothing for what it does by default."""

    def tools(self, url: str) -> set[str]:
        return {tool["name"] for tool in self._run(url, "tools/list")["tools"]}

    def call(self, url: str, tool: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        given = ("--tool-name", tool, "--tool-args-json", json.dumps(dict(arguments or {})))
        return self._run(url, "tools/call", *given)

    def _run(self, url: str, method: str, *arguments: str) -> dict[str, Any]:
        where = ("--cli", url, "--transport", "http", "--format", "json", *NO_DEADLINE, *self.options)
        done = subprocess.run(
            self.node.command(SCRIPT, *where, "--method", method, *arguments),
            env={**os.environ, "HOME": str(self.home), **WITHOUT_TERMINAL},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)["result"]
        return result
