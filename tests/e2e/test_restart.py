"""A deploy between two calls of one session, and a crash: the client notices nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import StartServer
from tests.e2e.test_clients import first_tickets, own_session
from tests.harness.clients import ClientKind, open_client
from tests.harness.databases import SQLiteTemplate
from tests.harness.node import Node
from tests.harness.running import run
from tests.harness.server import KINDS, Kind, ServerProcess
from tests.harness.wire import RawSession, answer, is_response

# A deploy that waits for an open stream until somebody loses patience is not one.
PROMPT_STOP_SECONDS: Final = 20.0
# Whoever is waited for as long as this fails by the deadline above; and a call that runs is not cut off
# because the machine is slow.
PATIENT: Final = {"E2E_MCP_SESSIONS": json.dumps({"DRAIN_SECONDS": 600})}


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, start_server: StartServer) -> ServerProcess:
    return start_server(kind=request.param, env=PATIENT)


@pytest.mark.parametrize(
    ("server", "kind"),
    [
        *(("uvicorn", "python"), ("uvicorn", "fastmcp"), ("daphne", "typescript")),
        *(("uvicorn", "fastmcp-default"), ("daphne", "python-default")),
        *(("uvicorn", "python1"), ("daphne", "typescript2-default"), ("uvicorn", "typescript2-auto")),
    ],
    indirect=["server"],
)
def test_the_worklist_survives_a_restart(
    kind: ClientKind, server: ServerProcess, node: Callable[[], Node]
) -> None:
    async def scenario() -> None:
        async with open_client(kind, server.url, node) as client:
            numbers, own = await first_tickets(client, 3), await own_session(client)
            for number in numbers[:2]:
                await client.call("add_to_worklist", {"ticket_id": number, **own})
            assert await server.restart_beside() < PROMPT_STOP_SECONDS
            after = await client.call("add_to_worklist", {"ticket_id": numbers[2], **own})
            assert after.structured == {"result": numbers}
            shown = await client.call("show_worklist", own)
            assert shown.structured is not None
            assert [ticket["id"] for ticket in shown.structured["result"]] == numbers
            # What the client told at the handshake is still known: it can be asked.
            closed = await client.call("close_worklist", own)
            assert closed.text.startswith("Closed 3 of 3 tickets") and len(client.heard.elicited) == 1

    run(scenario())


@pytest.mark.parametrize(("kind", "database"), [("uvicorn", "sqlite"), ("daphne", "postgresql")])
def test_the_session_survives_a_killed_process(
    kind: Kind, database: str, template: SQLiteTemplate, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """It starts as it is deployed: as an interpreter that has imported nothing."""
    url = template.copy() if database == "sqlite" else request.getfixturevalue("postgres")
    with ServerProcess(tmp_path, kind=kind, database_url=url, is_forked=False) as server:
        run(killed_between_two_calls(server))


async def killed_between_two_calls(server: ServerProcess) -> None:
    session = await RawSession.open(server.url)
    before = await session.call("add_to_worklist", {"ticket_id": 1})
    await asyncio.to_thread(server.kill)
    await server.start_beside()
    after = await session.call("add_to_worklist", {"ticket_id": 2})
    assert before["result"]["structuredContent"] == {"result": [1]}
    assert after["result"]["structuredContent"] == {"result": [1, 2]}


def test_a_result_nobody_waited_for_is_there_after_a_restart(server: ServerProcess) -> None:
    async def scenario() -> None:
        session = await RawSession.open(server.url)
        call = session.tool_call("export_report", {"steps": 3, "delay": 0.02}, token="report")
        async with session.post(call) as response:
            last_id = (await response.next_event()).id
            # The whole of it is read, so that the call is known to have ended, and then forgotten.
            await answer(response)
        await server.restart_beside()
        async with session.get(last_id) as response:
            assert response.status == 200, await response.body()
            messages = [event.json() async for event in response.events() if event.is_message]
        assert [message["params"]["progress"] for message in messages[:-1]] == [1, 2, 3]
        assert is_response(messages[-1]) and messages[-1]["id"] == call["id"]

    run(scenario())


def test_an_open_stream_is_told_to_come_back_when_the_server_stops(server: ServerProcess) -> None:
    async def scenario() -> None:
        session = await RawSession.open(server.url)
        async with session.get() as response:
            assert response.status == 200
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            events = [event async for event in response.events()]
            assert await stopping < PROMPT_STOP_SECONDS
        assert response.finished and any(event.retry is not None for event in events), response.seen
        await server.start_beside()
        async with session.get(next((event.id for event in reversed(events) if event.id), None)) as response:
            assert response.status == 200

    run(scenario())


def test_a_running_call_is_finished_with_its_reply_open(server: ServerProcess) -> None:
    """A client that came back during the drain would find nobody: so it is not sent away."""

    async def scenario() -> None:
        session = await RawSession.open(server.url)
        call = session.tool_call("export_report", {"steps": 4, "delay": 0.3}, token="report")
        async with session.post(call) as response:
            assert response.status == 200
            while (await response.next_event()).data == "":
                pass  # the priming event; after it the call has reported, and so it runs
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            answer = [event async for event in response.events()][-1].json()
            assert answer["result"]["content"][0]["text"].startswith("status,priority,tickets")
            assert await stopping < PROMPT_STOP_SECONDS
        await server.start_beside()

    run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_without_clients_stops_at_once(kind: Kind, start_server: StartServer) -> None:
    assert start_server(kind=kind).stop() < PROMPT_STOP_SECONDS
