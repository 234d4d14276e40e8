"""README.md, from an empty folder to a tool that remembers: step by step, as it says."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.projects import Project


def test_the_first_steps(tmp_path: Path) -> None:
    project = Project(tmp_path, "README.md")
    project.create()
    client = project.example("client")
    (tmp_path / "client.py").write_text(client)
    (tmp_path / "legacy.py").write_text(with_handshake(client))
    with project.serve("uvicorn") as server:
        for name in ("client.py", "legacy.py"):
            assert project.run(name) == "['tea']\n['tea', 'milk']\n"
        assert server.tracebacks() == []
    assert project.rows("SELECT COUNT(*) FROM mcp_sessions_session") == [(2,)]


def with_handshake(client: str) -> str:
    """The client as it is written for the revisions in which the tool has the protocol's session."""
    without_handle = re.sub(r" +(opened|session) = .*\n", "", client).replace(', "session": session', "")
    return without_handle.replace('/mcp")', '/mcp", mode="legacy")')
