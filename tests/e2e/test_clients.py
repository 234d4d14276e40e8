"""The official clients against the helpdesk, from connecting to the end of the session."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import pytest

from tests.e2e.conftest import either_server
from tests.harness.clients import REPLY, AnyClient, ClientKind, open_client
from tests.harness.node import Node
from tests.harness.running import eventually, run
from tests.harness.server import ServerProcess
from tests.harness.wire import LATEST_HANDSHAKE, RawSession

TOOLS: Final = {
    "search_tickets",
    "open_ticket",
    "get_ticket",
    "add_to_worklist",
    "show_worklist",
    "close_worklist",
    "export_report",
    "summarise_ticket",
}
WITH_SESSIONS: Final[tuple[ClientKind, ...]] = (
    *("python", "python1", "fastmcp", "typescript", "typescript2-default", "typescript-sse"),
)
WITHOUT_SESSIONS: Final[tuple[ClientKind, ...]] = ("python-default", "fastmcp-default", "typescript2-auto")
EVERY_KIND: Final = (*WITH_SESSIONS, *WITHOUT_SESSIONS)
# Over HTTP+SSE this client forgets reports that come in one piece with the result, and it never resumes,
# because it leaves Last-Event-ID out. Its session id is in no header.
BY_STREAMABLE_HTTP: Final = tuple(kind for kind in EVERY_KIND if kind != "typescript-sse")
RESUMING: Final = tuple(kind for kind in WITH_SESSIONS if kind in BY_STREAMABLE_HTTP)

MODERN: Final = "2026-07-28"
GetNode = Callable[[], Node]
pytestmark = pytest.mark.usefixtures("helpdesk")


async def first_tickets(client: AnyClient, count: int) -> list[int]:
    found = await client.call("search_tickets", {"query": "", "status": "open", "limit": count})
    assert found.structured is not None and not found.is_error, found
    return [ticket["id"] for ticket in found.structured["result"]]


async def own_session(client: AnyClient) -> dict[str, str]:
    """The argument by which its calls name the client's session; none where the protocol has sessions."""
    if client.version == LATEST_HANDSHAKE:
        return {}
    opened = await client.call("open_session")
    assert opened.structured is not None, opened
    return {"session": opened.structured["session"]}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_client_lists_and_calls_tools(kind: ClientKind, helpdesk: ServerProcess, node: GetNode) -> None:
    async def scenario() -> None:
        async with open_client(kind, helpdesk.url, node) as client:
            assert client.version == (MODERN if kind in WITHOUT_SESSIONS else LATEST_HANDSHAKE)
            assert set(await client.tools()) >= TOOLS
            numbers = await first_tickets(client, 3)
            assert len(numbers) == len(set(numbers)) == 3
            ticket = await client.call("get_ticket", {"id": numbers[0]})
            assert ticket.structured is not None and ticket.structured["id"] == numbers[0]
            assert json.loads(ticket.text)["status"] == "open"

    run(scenario())


@pytest.mark.parametrize("kind", BY_STREAMABLE_HTTP)
def test_a_client_is_told_of_the_progress(kind: ClientKind, helpdesk: ServerProcess, node: GetNode) -> None:
    async def scenario() -> None:
        async with open_client(kind, helpdesk.url, node) as client:
            report = await client.call("export_report", {"steps": 5, "delay": 0.02})
            assert report.text.startswith("status,priority,tickets\n")
            assert client.heard.progress == [1, 2, 3, 4, 5]

    run(scenario())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_failing_tool_is_a_result_with_the_reason(
    kind: ClientKind, helpdesk: ServerProcess, node: GetNode
) -> None:
    async def scenario() -> None:
        async with open_client(kind, helpdesk.url, node) as client:
            outcome = await client.call("get_ticket", {"id": 999_999_999})
            assert outcome.is_error and "999999999" in outcome.text

    run(scenario())


@either_server
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_client_answers_an_elicitation(kind: ClientKind, helpdesk: ServerProcess, node: GetNode) -> None:
    async def scenario() -> None:
        async with open_client(kind, helpdesk.url, node) as client:
            numbers, own = await first_tickets(client, 2), await own_session(client)
            for number in numbers:
                await client.call("add_to_worklist", {"ticket_id": number, **own})
            closed = await client.call("close_worklist", own)
            assert closed.text.startswith("Closed 2 of 2 tickets"), closed
            assert len(client.heard.elicited) == 1 and "Close 2 tickets" in client.heard.elicited[0]
            assert (await client.call("show_worklist", own)).structured == {"result": []}

    run(scenario())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_client_answers_a_sampling_request(
    kind: ClientKind, helpdesk: ServerProcess, node: GetNode
) -> None:
    async def scenario() -> None:
        async with open_client(kind, helpdesk.url, node) as client:
            (number,) = await first_tickets(client, 1)
            summary = await client.call("summarise_ticket", {"ticket_id": number})
            assert (summary.text, summary.is_error) == (REPLY, False)
            assert len(client.heard.sampled) == 1 and "Summarise" in client.heard.sampled[0]

    run(scenario())


@pytest.mark.parametrize("kind", WITH_SESSIONS)
def test_a_subscriber_is_told_when_its_ticket_is_saved(
    kind: ClientKind, helpdesk: ServerProcess, node: GetNode
) -> None:
    async def scenario() -> None:
        async with open_client(kind, helpdesk.url, node) as client:
            mine, other = await first_tickets(client, 2)
            await client.subscribe(f"ticket://{mine}")
            for number in (other, mine):
                await client.call("add_to_worklist", {"ticket_id": number})
            await client.call("close_worklist")
            await eventually(lambda: bool(client.heard.updated))
            assert client.heard.updated == [f"ticket://{mine}"]

    run(scenario())


@pytest.mark.parametrize("kind", RESUMING)
def test_a_client_ends_its_session_and_the_id_is_dead(
    kind: ClientKind, helpdesk: ServerProcess, node: GetNode
) -> None:
    async def scenario() -> None:
        async with open_client(kind, helpdesk.url, node) as client:
            assert client.version == LATEST_HANDSHAKE
            session = RawSession(helpdesk.url, client.session_id)
            assert client.session_id and await session.status_of_ping() == 200
        assert await session.status_of_ping() == 404
        assert await session.delete() == 404
        async with session.get() as response:
            assert response.status == 404

    run(scenario())


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_two_clients_have_two_worklists(kind: ClientKind, helpdesk: ServerProcess, node: GetNode) -> None:
    async def scenario() -> None:
        async with (
            open_client(kind, helpdesk.url, node) as one,
            open_client(kind, helpdesk.url, node) as other,
        ):
            (number,) = await first_tickets(one, 1)
            mine, others = await own_session(one), await own_session(other)
            added = await one.call("add_to_worklist", {"ticket_id": number, **mine})
            assert added.structured == {"result": [number]}
            assert (await other.call("show_worklist", others)).structured == {"result": []}
            if kind in BY_STREAMABLE_HTTP:
                assert (one.session_id, mine) != (other.session_id, others)

    run(scenario())
