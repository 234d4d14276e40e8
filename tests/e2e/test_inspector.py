"""MCP Inspector's command line against the helpdesk, in both eras and in its own default, the handshake."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import StartServer
from tests.harness.inspecting import Inspector
from tests.harness.node import Node
from tests.harness.server import ServerProcess

ERAS: Final = {"default": (), "auto": ("--protocol-era", "auto"), "modern": ("--protocol-era", "modern")}
CANNOT_ASK: Final = "this client cannot ask"


@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_lists_and_calls_tools(
    era: str, helpdesk: ServerProcess, inspector: Node, tmp_path: Path
) -> None:
    """It takes progress, and shows none. It answers no elicitation and says so, which the tool can tell."""
    client = Inspector(inspector, tmp_path, ERAS[era])
    # open_session is among the tools of 2026-07-28 alone.
    assert ("open_session" in client.tools(helpdesk.url)) == (era != "default")
    report = client.call(helpdesk.url, "export_report", {"steps": 3, "delay": 0.01})
    assert report["content"][0]["text"].startswith("status,priority,tickets\n")
    if era != "default":
        session = client.call(helpdesk.url, "open_session")["structuredContent"]["session"]
        client.call(helpdesk.url, "add_to_worklist", {"ticket_id": 1, "session": session})
        closed = client.call(helpdesk.url, "close_worklist", {"session": session})
        assert closed["isError"] and CANNOT_ASK in closed["content"][0]["text"]


def test_its_state_is_kept_over_a_restart(start_server: StartServer, inspector: Node, tmp_path: Path) -> None:
    """By a handle. By the handshake each of its commands has a session of its own."""
    server = start_server()
    client = Inspector(inspector, tmp_path, ERAS["auto"])
    session = client.call(server.url, "open_session")["structuredContent"]["session"]
    client.call(server.url, "add_to_worklist", {"ticket_id": 1, "session": session})
    server.restart()
    added = client.call(server.url, "add_to_worklist", {"ticket_id": 2, "session": session})
    assert added["structuredContent"] == {"result": [1, 2]}
