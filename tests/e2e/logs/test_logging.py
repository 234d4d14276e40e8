"""Log lines as an operator gets them, from a real server's process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import StartServer
from tests.harness.running import run
from tests.harness.wire import RawSession

CALLS: Final = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path


def test_the_documented_logging(start_server: StartServer, folder: Path) -> None:
    server = start_server(
        settings="tests.e2e.logs.documented",
        server="tests.e2e.servers.basket:server",
        env={"E2E_FOLDER": str(folder)},
    )

    async def scenario() -> None:
        clients = [await RawSession.open(server.url) for _ in range(2)]
        tools = ["empty_basket", "count_basket"] * (CALLS // 4)
        await asyncio.gather(*(client.call(tool) for client in clients for tool in tools))
        for client in clients:
            assert await client.delete() == 204

    run(scenario())
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    sessions = [json.loads(line) for line in (folder / "log/sessions.log").read_text().splitlines()]
    opened = [each["mcp_session"] for each in sessions if each["mcp_event"] == "opened"]
    ended = [each["mcp_session"] for each in sessions if each["mcp_reason"] == "deleted"]
    assert len(set(opened)) == 2 and opened == ended
    written = [each for each in lines if each["name"] == "shop.tools"]
    assert sorted(each["mcp_session"] for each in written) == sorted(opened * (CALLS // 2))
    shown: dict[str, Any] = written[0]
    assert set(shown) == {"asctime", "levelname", "name", "message", "mcp_session", "mcp_server"}
    # The console has the same events.
    assert [each["mcp_session"] for each in lines if each.get("mcp_event") == "opened"] == opened


def test_debug_lines_show_once_where_logging_says_nothing(start_server: StartServer) -> None:
    # A server of the SDK's higher level adds a handler at the root where there is none; this does not.
    process = start_server(
        settings="tests.e2e.logs.plain",
        server="tests.e2e.servers.basket:low",
        env={"E2E_MCP_SESSIONS": '{"SESSION_DEBUG": true}'},
    )

    async def scenario() -> str:
        session = await RawSession.open(process.url)
        assert await session.status_of_ping() == 200
        return str(session.session_id)

    session_id = run(scenario())
    told = process.log()
    assert told.count("POST /mcp ping: 200") == 1
    assert told.count("opened at /mcp") == 1
    assert session_id not in told
