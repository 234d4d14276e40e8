"""The connection is cut in the middle of a call: every event comes once, and then the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.e2e.conftest import either_server
from tests.e2e.test_clients import RESUMING
from tests.harness.clients import ClientKind, open_client
from tests.harness.node import Node
from tests.harness.proxy import CuttingProxy
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.sse import Event
from tests.harness.wire import RawSession, Response, is_response

STEPS: Final = 5
REPORT: Final = {"steps": STEPS, "delay": 0.05}
# Events read before the cut: the priming event, then one per step, then the result.
CUTS: Final = {"after the priming event": 1, "in the middle": 3, "before the result": 1 + STEPS}


def report(session: RawSession) -> dict[str, Any]:
    return session.tool_call("export_report", REPORT, token="report")


async def read(response: Response, count: int) -> list[Event]:
    return [await response.next_event() for _ in range(count)]


async def rest(session: RawSession, last_event_id: str | None) -> list[Event]:
    """What comes after that event, up to the end of the stream, which comes by itself."""
    async with session.get(last_event_id) as response:
        assert response.status == 200, (response.status, await response.body())
        events = [event async for event in response.events()]
    assert response.finished
    return events


def assert_whole(events: list[Event], request_id: Any) -> None:
    ids = [event.id for event in events if event.id]
    assert len(ids) == len(set(ids)), ids
    messages = [event.json() for event in events if event.is_message]
    assert [message["params"]["progress"] for message in messages[:-1]] == list(range(1, STEPS + 1))
    assert all(message["params"]["progressToken"] == "report" for message in messages[:-1])
    assert is_response(messages[-1]) and messages[-1]["id"] == request_id
    assert messages[-1]["result"]["content"][0]["text"].startswith("status,priority,tickets\n")


@either_server
@pytest.mark.parametrize("cut", CUTS)
def test_what_was_missed_comes_once_and_then_the_result(cut: str, helpdesk: ServerProcess) -> None:
    async def scenario() -> None:
        session = await RawSession.open(helpdesk.url)
        call = report(session)
        async with session.post(call) as response:
            before = await read(response, CUTS[cut])
            response.cut()
        assert before[0].is_priming and before[0].retry is None, before
        after = await rest(session, before[-1].id)
        assert_whole(before + [event for event in after if not event.is_priming], call["id"])

    run(scenario())


@either_server
def test_a_connection_cut_after_every_event(helpdesk: ServerProcess) -> None:
    async def scenario() -> None:
        session = await RawSession.open(helpdesk.url)
        call = report(session)
        async with session.post(call) as response:
            events = await read(response, 1)
            response.cut()
        while not (events[-1].is_message and is_response(events[-1].json())):
            async with session.get(events[-1].id) as response:
                event = await response.next_event()
                # A resumed stream may begin with a priming event of its own: its id has to work too.
                events.append(await response.next_event() if event.is_priming else event)
                response.cut()
        assert_whole(events, call["id"])

    run(scenario())


def test_the_same_events_come_again_for_who_asks_again(helpdesk: ServerProcess) -> None:
    async def scenario() -> None:
        session = await RawSession.open(helpdesk.url)
        call = report(session)
        async with session.post(call) as response:
            first = await response.next_event()
            response.cut()
        once, again = await rest(session, first.id), await rest(session, first.id)
        messages = [event for event in once if event.is_message]
        assert_whole(messages, call["id"])
        assert [(e.id, e.data) for e in again if e.is_message] == [(e.id, e.data) for e in messages]
        assert not [event for event in await rest(session, messages[-1].id) if event.is_message]

    run(scenario())


@either_server
def test_a_reset_before_anything_was_read_does_not_cancel_the_call(helpdesk: ServerProcess) -> None:
    async def scenario() -> None:
        session = await RawSession.open(helpdesk.url, capabilities={"elicitation": {}})
        await session.call("add_to_worklist", {"ticket_id": 3})
        async with session.post(session.tool_call("close_worklist", {})) as response:
            events = await read(response, 2)
            response.cut()
        asked = events[1].json()
        assert asked["method"] == "elicitation/create"
        await session.reply(asked["id"], {"action": "accept", "content": {"confirm": True}})
        (result,) = [event.json() for event in await rest(session, events[1].id) if event.is_message]
        assert result["result"]["content"][0]["text"].startswith("Closed"), result

    run(scenario())


def test_two_streams_of_one_session_do_not_mix(helpdesk: ServerProcess) -> None:
    async def scenario() -> None:
        session = await RawSession.open(helpdesk.url)
        calls = [report(session), report(session)]
        begun = []
        for call in calls:
            async with session.post(call) as response:
                begun.append(await response.next_event())
                response.cut()
        for call, first in zip(calls, begun, strict=True):
            assert_whole([event for event in await rest(session, first.id) if event.is_message], call["id"])

    run(scenario())


def test_another_session_gets_nothing(helpdesk: ServerProcess) -> None:
    async def scenario() -> None:
        owner, stranger = await RawSession.open(helpdesk.url), await RawSession.open(helpdesk.url)
        call = report(owner)
        async with owner.post(call) as response:
            first = await response.next_event()
            response.cut()
        for claimed in (stranger, RawSession(helpdesk.url), RawSession(helpdesk.url, "0" * 43)):
            async with claimed.get(first.id) as response:
                body = await response.body()
                assert response.status in (400, 404) and b"report" not in body, (response.status, body)
        async with owner.get("no such event") as response:
            body = await response.body()
            assert response.status in (400, 404), (response.status, body)
        assert_whole([event for event in await rest(owner, first.id) if event.is_message], call["id"])

    run(scenario())


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", RESUMING)
def test_a_client_resumes_by_itself(
    kind: ClientKind, cut: str, helpdesk: ServerProcess, node: Callable[[], Node]
) -> None:
    async def scenario() -> None:
        proxy = CuttingProxy(helpdesk.port, b'"export_report"', after_events=CUTS[cut])
        async with proxy.running(), open_client(kind, proxy.url, node) as client:
            result = await client.call("export_report", REPORT)
            assert result.text.startswith("status,priority,tickets\n")
            assert client.heard.progress == list(range(1, STEPS + 1))
            assert proxy.cuts == 1

    run(scenario())
