"""mcp_sessions.testing against the mounted app, in this process."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from django.test import TransactionTestCase
from mcp.shared.exceptions import MCPError

from mcp_sessions import SessionNotFound, aload_session, asend_session_message, load_session, runtime
from mcp_sessions.testing import (
    accept,
    connect,
    connect_sync,
    decline,
    http_client,
    open_guide_stream,
    url_of,
)
from tests.servers import DEADLINE, gates

pytestmark = pytest.mark.django_db(transaction=True)


def text_of(result: Any) -> str:
    return str(result.content[0].text)


async def test_a_session_keeps_what_a_tool_puts_into_it() -> None:
    async with connect("/mcp") as client:
        assert client.protocol_version == "2025-11-25"
        await client.call_tool("add", {"item": "tea"})
        assert client.session_id is not None
        assert (await aload_session(client.session_id)).data == {"basket": ["tea"]}
        key = text_of(await client.call_tool("session_key"))
    with pytest.raises(SessionNotFound):
        await aload_session(key)


async def test_the_revision_without_sessions_is_spoken_too() -> None:
    async with connect(mode="2026-07-28") as client:
        assert text_of(await client.call_tool("echo", {"text": "tea"})) == "tea"
        assert client.session_id is None


async def test_progress_comes_while_the_tool_runs(gate: str) -> None:
    steps: list[float] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        steps.append(done)
        gates[gate].open()  # the tool waits for it after its first step

    async with connect("/mcp") as client:
        arguments = {"steps": 3, "gate": gate}
        await client.call_tool("progress", arguments, progress_callback=on_progress)
    assert steps == [1, 2, 3]


async def test_a_callback_answers_what_a_tool_asks() -> None:
    async with connect("/mcp", elicitation_callback=accept(name="Ada")) as client:
        answer = json.loads(text_of(await client.call_tool("elicit", {"message": "who?"})))
        assert answer == {"action": "accept", "content": {"name": "Ada"}}
    async with connect("/mcp", elicitation_callback=decline) as client:
        answer = json.loads(text_of(await client.call_tool("elicit", {"message": "who?"})))
        assert answer["action"] == "decline"


async def test_a_client_that_loses_its_connections_comes_back_for_the_result(gate: str) -> None:
    steps: list[float] = []
    first = asyncio.Event()

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        steps.append(done)
        first.set()

    async with connect("/mcp") as client:
        arguments = {"steps": 3, "gate": gate}
        calling = asyncio.create_task(client.call_tool("progress", arguments, progress_callback=on_progress))
        async with asyncio.timeout(DEADLINE):
            await first.wait()
            client.lose_connections()
            gates[gate].open()
            assert text_of(await calling) == "done"
    assert steps == [1, 2, 3]


async def test_a_guide_stream_opens_a_session_and_gets_its_events() -> None:
    async with open_guide_stream("/mcp") as stream:
        endpoint = await stream.next_event("endpoint")
        assert stream.session_id in endpoint.data or endpoint.data
        assert "echo" in {tool["name"] for tool in (await stream.request("tools/list"))["tools"]}
        await asend_session_message(stream.session_id, event="order-shipped", data={"order": 7})
        assert json.loads((await stream.next_event("order-shipped")).data) == {"order": 7}
        left = stream.session_id, stream.last_event_id
    session = await asend_session_message(left[0], event="while-away", data=1)
    assert session
    async with open_guide_stream("/mcp", session_id=left[0], last_event_id=left[1]) as stream:
        assert stream.session_id == left[0]
        assert (await stream.next_event("while-away")).data == "1"


async def test_plain_requests_and_headers() -> None:
    async with http_client(headers={"X-Session-ID": "A" * 32}) as http:
        answer = await http.post(url_of("/mcp"), json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert answer.json()["error"]["data"]["reason"] == "session_not_found"
        assert (await http.get("/no-such-page")).status_code == 404


async def test_an_error_of_the_application_comes_out_of_the_request() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async with http_client(broken) as http:
        with pytest.raises(ZeroDivisionError):
            await http.get("/")


async def test_nothing_is_left_of_it() -> None:
    before = set(threading.enumerate())
    async with connect("/mcp") as one, connect("/mcp") as another:
        assert text_of(await one.call_tool("echo", {"text": "1"})) == "1"
        assert one.session_id != another.session_id
        assert runtime.peek() is not None
    assert runtime.peek() is None
    left = {each.name for each in set(threading.enumerate()) - before}
    # The loop's own pool, and one that looks after stuck statements of any store.
    assert {name for name in left if not name.startswith("asyncio_")} <= {"mcp-watchdog"}


class SynchronousCase(TransactionTestCase):
    def test_a_client_of_a_synchronous_test(self) -> None:
        with connect_sync("/mcp", elicitation_callback=accept(name="Ada")) as client:
            client.call_tool("add", {"item": "tea"})
            self.assertEqual(load_session(client.session_id).data, {"basket": ["tea"]})
            with load_session(client.session_id).edit() as data:
                data["basket"].append("milk")
            self.assertEqual(text_of(client.call_tool("basket")), "tea")
            self.assertIn("Ada", text_of(client.call_tool("elicit", {"message": "who?"})))
            with self.assertRaises(MCPError):
                client.read_resource("no:such")
        self.assertIsNone(runtime.peek())

    def test_two_clients_at_once(self) -> None:
        with connect_sync("/mcp") as one, connect_sync("/mcp") as another:
            one.call_tool("add", {"item": "tea"})
            another.call_tool("add", {"item": "milk"})
            self.assertEqual(load_session(one.session_id).data, {"basket": ["tea"]})
            self.assertEqual(load_session(another.session_id).data, {"basket": ["milk"]})

    def test_code_without_a_client_goes_before(self) -> None:
        with self.assertRaises(SessionNotFound):
            load_session("A" * 32)
        before = runtime.peek()
        with connect_sync("/mcp") as client:
            self.assertTrue(load_session(client.session_id).key)
            self.assertIsNot(runtime.peek(), before)
        self.assertTrue(before is not None and before.is_over)
