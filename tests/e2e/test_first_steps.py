"""README.md, from an empty folder to a tool that remembers: step by step, as it says."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.projects import Project


def test_the_first_steps(tmp_path: Path) -> None:
    project = Project(tmp_path, "README.md")
    project.create()
    (tmp_path / "client.py").write_text(project.example("client"))
    with project.serve("uvicorn") as server:
        assert project.run("client.py") == "['tea']\n['tea', 'milk']\n"
        assert server.tracebacks() == []
    assert project.rows("SELECT COUNT(*) FROM mcp_sessions_session") == [(1,)]
