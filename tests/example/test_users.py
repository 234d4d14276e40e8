"""Two users of the helpdesk: each has worklists that the other does not see, in every revision."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tests.example.conftest import ROOT, Example
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, request

MAKE_PEOPLE = "from pathlib import Path; from example_project.people import *; make_people(Path({!r}))"
# An open stream ends when its token is deleted: at a heartbeat, which is soon here.
SETTINGS = "from example_project.settings import *\nMCP_SESSIONS['HEARTBEAT_SECONDS'] = 0.2\n"


@pytest.fixture
def helpdesk(migrated: Example) -> Iterator[ServerProcess]:
    """The example as it is, with its tickets and people."""
    migrated.manage("load_tickets")
    migrated.manage("shell", "-v0", "-c", MAKE_PEOPLE.format(str(migrated.folder)))
    (migrated.folder / "hurried_settings.py").write_text(SETTINGS)
    paths = {"PYTHONPATH": os.pathsep.join([str(migrated.folder), str(ROOT)])}
    url = migrated.environment["DATABASE_URL"]
    with ServerProcess(migrated.folder, database_url=url, settings="hurried_settings", env=paths) as server:
        yield server


def token(example: Example, name: str) -> str:
    return (example.folder / f"{name}-token").read_text().strip()


@contextlib.asynccontextmanager
async def connected(example: Example, url: str, name: str, mode: str) -> AsyncIterator[Client]:
    """A client of one of the users; `mode` is the SDK's: "legacy" opens a session by the handshake."""
    headers = {"Authorization": f"Bearer {token(example, name)}"}
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


async def add(client: Client, ticket: int) -> list[int]:
    added = await client.call_tool("add_to_worklist", {"ticket_id": ticket})
    assert added.structured_content is not None, added
    return list(added.structured_content["result"])


async def worklist(client: Client) -> list[int]:
    shown = await client.call_tool("show_worklist")
    assert shown.structured_content is not None, shown
    return [ticket["id"] for ticket in shown.structured_content["result"]]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_each_has_a_worklist_that_stays_when_the_server_restarts(
    migrated: Example, helpdesk: ServerProcess, mode: str
) -> None:
    async def scenario() -> None:
        async with (
            connected(migrated, helpdesk.url, "ann", mode) as ann,
            connected(migrated, helpdesk.url, "ben", mode) as ben,
        ):
            assert await add(ann, 1) == [1]
            assert await add(ben, 2) == [2]
            await helpdesk.restart_beside()
            assert await add(ann, 3) == [1, 3]
            assert [await worklist(ann), await worklist(ben)] == [[1, 3], [2]]

    run(scenario())


def test_the_session_of_one_is_unknown_to_the_other(migrated: Example, helpdesk: ServerProcess) -> None:
    async def scenario() -> None:
        ann, ben = (f"Bearer {token(migrated, name)}" for name in ("ann", "ben"))
        headers = {"Authorization": ann, "Accept": "text/event-stream"}
        async with request("GET", helpdesk.url, headers) as stream:
            told = (await stream.next_event()).json()
            session = RawSession(helpdesk.url, told["session_id"])
            answers = []
            for authorization in (ann, ben, None):
                async with session.post(session.message("ping"), Authorization=authorization) as response:
                    answers.append(response.status)
            assert answers == [200, 404, 404]

    run(scenario())


def test_a_token_that_is_deleted_opens_nothing(migrated: Example, helpdesk: ServerProcess) -> None:
    """Its user is refused, and is no visitor; the stream that it has opened ends."""

    async def scenario() -> None:
        headers = {"Authorization": f"Bearer {token(migrated, 'ann')}", "Accept": "text/event-stream"}
        async with request("GET", helpdesk.url, headers) as stream:
            await stream.next_event()
            migrated.query("DELETE FROM helpdesk_usertoken")
            async for _ in stream.events():
                pass
        async with request("GET", helpdesk.url, headers) as refused:
            assert refused.status == 401

    run(scenario())
