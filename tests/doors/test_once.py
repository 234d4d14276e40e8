"""Tools whose calls happen once: whoever sends a call again gets its first outcome, in every revision."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

import pytest

from mcp_sessions import once
from mcp_sessions.delivery import get_hub
from mcp_sessions.models import OnceCall
from mcp_sessions.protocol.idempotent_calls import IdempotentCall
from mcp_sessions.protocol.suspended_calls import SuspendableCall
from mcp_sessions.records import Claim
from mcp_sessions.stores import get_store
from tests.deeds import did, fast, happened, sdk
from tests.doors.client import McpClient, call
from tests.doors.conftest import OpenClient, every_door, streaming
from tests.doors.doors import Door
from tests.doors.test_handles import authorization, opened, said
from tests.doors.test_modern import modern, post
from tests.process import eventually
from tests.servers import Gate, gates
from tests.settings import TOKENS

PATHS: Final = ("/sdk-deeds", "/fast-deeds")
SERVERS: Final[dict[str, Any]] = {"/sdk-deeds": sdk, "/fast-deeds": fast}
Call = Callable[..., Awaitable[dict[str, Any]]]
pytestmark = pytest.mark.django_db(transaction=True)
either_library = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(params=["handshake", "2026-07-28"])
async def send(request: pytest.FixtureRequest, door: Door, connect: OpenClient) -> Call:
    """Call a tool at a path, in a revision; the answer. Always in the same session."""
    clients: dict[str, McpClient] = {}
    opening = asyncio.Lock()

    async def in_session(path: str, tool: str, **arguments: Any) -> dict[str, Any]:
        async with opening:
            if path not in clients:
                clients[path] = await connect(path=path, more_headers=authorization(TOKENS["ann"]))
        return await clients[path].ask(call(tool, arguments, id=uuid4().hex))

    async def in_request(path: str, tool: str, **arguments: Any) -> dict[str, Any]:
        message = modern(call(tool, arguments, id=uuid4().hex))
        response = await post(door, message, path=path, **authorization(TOKENS["ann"]))
        return dict((await response.messages())[-1] if response.is_stream else await response.json())

    return in_session if request.param == "handshake" else in_request


def new_order() -> str:
    return uuid4().hex


async def somebody_waits() -> None:
    """For a call that another sender runs."""
    await eventually(lambda: len(get_hub().topics))


def without_id(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "id"}


async def sent_twice(send: Call, path: str, tool: str, **arguments: Any) -> dict[str, Any]:
    """The answer that both have."""
    first, second = [without_id(await send(path, tool, **arguments)) for _ in range(2)]
    assert first == second
    return first


@either_library
async def test_a_call_that_is_sent_again_has_the_outcome_of_the_first(send: Call, path: str) -> None:
    order, other = new_order(), new_order()
    answer = await sent_twice(send, path, "pay", order=order, amount=7)
    assert answer["result"]["structuredContent"] == {"order": order, "amount": 7, "times": 1}
    # The key alone says which calls are the same.
    assert without_id(await send(path, "pay", order=order, amount=8)) == answer
    await send(path, "pay", order=other)
    assert (happened[order], happened[other]) == (1, 1)


@either_library
async def test_without_a_key_calls_with_the_same_arguments_are_the_same(send: Call, path: str) -> None:
    seat = new_order()
    first = await send(path, "book", seat=seat, row=2)
    again = await send(path, "book", row=2.0, seat=seat)
    other = await send(path, "book", seat=seat, row=3)
    assert [said(each["result"]) for each in (first, again, other)] == [f"{seat} {n}" for n in (1, 1, 2)]


@either_library
@pytest.mark.parametrize("tool", ["decline", "fail", "refuse"])
async def test_an_error_is_an_outcome(send: Call, path: str, tool: str) -> None:
    order = new_order()
    answer = await sent_twice(send, path, tool, order=order)
    assert happened[order] == 1
    # FastMCP makes a tool error of whatever its tools raise.
    assert "error" in answer if (tool, path) == ("refuse", PATHS[0]) else answer["result"]["isError"]


@either_library
async def test_a_call_that_did_not_begin_has_no_outcome(send: Call, path: str) -> None:
    """Its arguments are wrong, and the model sends it again with better ones."""
    order = new_order()
    for wrong in ({"amount": "much"}, {"amount": []}):
        assert (await send(path, "pay", order=order, **wrong))["result"]["isError"]
    right = await send(path, "pay", order=order, amount=2)
    assert right["result"]["structuredContent"]["times"] == 1
    assert not await OnceCall.objects.filter(outcome="").aexists()


async def test_a_call_that_succeeded_has_happened_wherever_its_function_ran(send: Call) -> None:
    """A function that runs without the call's context is not seen to begin."""
    order = new_order()
    answer = await sent_twice(send, "/fast-deeds", "elsewhere", order=order)
    assert (said(answer["result"]), happened[order]) == ("1", 1)


async def test_a_call_that_is_to_be_sent_again_has_no_outcome_yet(connect: OpenClient) -> None:
    order = new_order()
    client = await connect(path="/sdk-deeds")
    asked = await client.ask(call("consent", {"order": order}))
    assert asked["error"]["code"] == -32042
    assert [await client.call("consent", {"order": order}) for _ in range(2)] == ["paid 2"] * 2


@either_library
async def test_calls_of_others_are_others(door: Door, connect: OpenClient, path: str) -> None:
    """Other principals, other sessions, other tools."""
    order = new_order()
    for token in TOKENS.values():
        message = modern(call("pay", {"order": order}))
        response = await post(door, message, path=path, **authorization(token))
        assert (await response.json())["result"]["structuredContent"]["order"] == order
    for _ in range(2):
        client = await connect(path=path)
        await client.call("pay", {"order": order})
        await client.ask(call("decline", {"order": order}))
    assert happened[order] == 6


@either_library
async def test_in_the_session_of_a_handle(door: Door, path: str) -> None:
    """Of an anonymous client, too. A handle that is not usable is told as ever, and nothing happens."""
    order, handles = new_order(), [await opened(door, path) for _ in range(2)]

    async def store(session: str) -> str:
        message = modern(call("store", {"order": order, "session": session}))
        return said((await (await post(door, message, path=path)).json())["result"])

    assert [await store(each) for each in (handles[0], handles[0], handles[1])] == [order] * 3
    assert happened[order] == 2
    assert "open_session" in await store("x" * 32)
    assert happened[order] == 2


@pytest.mark.parametrize("path", [*PATHS, "/low-deeds"])
async def test_an_anonymous_call_without_a_session_is_refused(door: Door, path: str) -> None:
    order = new_order()
    response = await post(door, modern(call("by_settings", {"order": order})), path=path)
    result = (await response.json())["result"]
    assert result["isError"] and "Nothing was done" in said(result)
    assert happened[order] == 0
    plain = await post(door, modern(call("plain", {"order": order})), path=path)
    assert said((await plain.json())["result"]) == "1"


@pytest.mark.parametrize("path", [*PATHS, "/low-deeds"])
async def test_the_setting_declares_tools_of_any_server(send: Call, path: str) -> None:
    order, plain = new_order(), new_order()
    assert said((await sent_twice(send, path, "by_settings", order=order))["result"]) == "1"
    assert [said((await send(path, "plain", order=plain))["result"]) for _ in range(2)] == ["1", "2"]


async def test_an_exception_of_a_low_level_server_is_an_outcome(send: Call) -> None:
    order = f"fails {new_order()}"
    answer = await sent_twice(send, "/low-deeds", "by_settings", order=order)
    assert answer["error"] == {"code": -32603, "message": "Internal server error"}
    assert happened[order] == 1


@either_library
async def test_a_call_without_its_optional_key_is_like_any_other(send: Call, path: str) -> None:
    order = new_order()
    without = [said((await send(path, "optional", order=order))["result"]) for _ in range(2)]
    named = [said((await send(path, "optional", order=order, token="t"))["result"]) for _ in range(2)]
    assert (without, named) == (["1", "2"], ["3", "3"])


@either_library
async def test_an_outcome_that_is_too_long_is_known_to_have_happened(send: Call, path: str) -> None:
    order = new_order()
    first, second = [(await send(path, "long", order=order))["result"] for _ in range(2)]
    assert said(first) == "1" * 70_000
    assert second["isError"] and "has happened" in said(second)
    assert happened[order] == 1


async def test_a_result_that_is_no_json_is_known_to_have_happened(send: Call) -> None:
    order = new_order()
    first, second = [await send("/sdk-deeds", "unsendable", order=order) for _ in range(2)]
    assert first["error"]["code"] == -32603
    assert second["result"]["isError"] and "has happened" in said(second["result"])
    assert happened[order] == 1


@pytest.mark.parametrize("failures", [1, 5])
async def test_an_outcome_is_stored_whatever_the_store_raises(
    send: Call, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    """Or else that there was one: those who send the call again would wait as long as the worker lives."""
    store, order, left = get_store(), new_order(), iter(range(failures))
    settle = store.asettle

    async def fail(claim: Claim, outcome: str) -> bool:
        if next(left, None) is not None:
            raise RuntimeError("nobody foresaw this")
        return await settle(claim, outcome)

    monkeypatch.setattr(store, "asettle", fail)
    first, second = [(await send("/sdk-deeds", "pay", order=order))["result"] for _ in range(2)]
    assert first["structuredContent"]["times"] == 1
    assert second == first if failures == 1 else "has happened" in said(second)
    assert happened[order] == 1


async def test_a_call_whose_session_ends_is_told_that(send: Call) -> None:
    answer = await send("/sdk-deeds", "finish", order=new_order())
    assert answer["error"]["data"] == {"reason": "session_ended"}


async def test_a_session_has_no_more_than_its_limit(connect: OpenClient) -> None:
    client, orders = await connect(path="/sdk-deeds"), [new_order() for _ in range(6)]
    for order in orders[:5]:
        await client.call("pay", {"order": order})
    refused = (await client.ask(call("pay", {"order": orders[5]})))["result"]
    assert refused["isError"] and "Nothing was done" in said(refused)
    assert happened[orders[5]] == 0
    await client.call("pay", {"order": orders[0]})
    assert happened[orders[0]] == 1


@pytest.fixture
def order() -> Any:
    """An order at whose gate its tool waits."""
    name = new_order()
    gates[name] = Gate()
    yield name
    gates.pop(name).open()


@every_door
async def test_who_sends_it_meanwhile_waits(send: Call, order: str) -> None:
    """At every entry point, and in every revision."""
    sending = [asyncio.create_task(send("/sdk-deeds", "pay", order=order)) for _ in range(4)]
    await gates[order].reached()
    await somebody_waits()
    gates[order].open()
    answers = [without_id(await each) for each in sending]
    assert answers == [answers[0]] * 4
    assert answers[0]["result"]["structuredContent"]["times"] == 1


@streaming
@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_lost_its_stream_gets_the_outcome(door: Door, path: str, order: str) -> None:
    """In 2026-07-28 that is a cancellation elsewhere: here the call goes on."""
    message, ann = modern(call("deliver", {"order": order}, token="t")), authorization(TOKENS["ann"])
    cut = await post(door, message, path=path, **ann)
    assert (await cut.next_message())["params"]["progress"] == 1
    await cut.disconnect()
    again = asyncio.create_task(post(door, message, path=path, **ann))
    await somebody_waits()
    gates[order].open()
    assert said((await (await again).json())["result"]) == "1"
    assert (gates[order].log, happened[order]) == (["finished"], 1)


async def test_who_cancels_it_in_earlier_revisions_stops_it(connect: OpenClient, order: str) -> None:
    """Nobody knows how far it came: that is what all are told, and it is not run again."""
    client = await connect(path="/sdk-deeds")
    first = client.posting(call("pay", {"order": order}, id="first"))
    await gates[order].reached()
    second = client.posting(call("pay", {"order": order}, id="second"))
    await client.cancel("first")
    cancelled = await (await first).json()
    assert cancelled["error"]["data"]["reason"] == "cancelled"
    for answer in (await (await second).json(), await client.ask(call("pay", {"order": order}))):
        assert answer["error"]["code"] == -32800
        assert "outcome is unknown" in answer["error"]["message"]
    assert (gates[order].log, happened[order]) == (["cancelled"], 1)


async def test_who_waits_may_leave(connect: OpenClient, order: str) -> None:
    client = await connect(path="/sdk-deeds")
    first = client.posting(call("pay", {"order": order}, id="first"))
    await gates[order].reached()
    second = client.posting(call("pay", {"order": order}, id="second"))
    await somebody_waits()
    await client.cancel("second")
    assert (await (await second).json())["error"]["data"]["reason"] == "cancelled"
    gates[order].open()
    assert (await (await first).json())["result"]["structuredContent"]["times"] == 1


async def test_a_cancelled_call_that_may_be_run_again_is(connect: OpenClient, order: str) -> None:
    client = await connect(path="/sdk-deeds")
    first = client.posting(call("repeatable", {"order": order}, id="first"))
    await gates[order].reached()
    await client.cancel("first")
    await (await first).json()
    gates[order].open()
    assert [await client.call("repeatable", {"order": order}) for _ in range(2)] == ["2", "2"]


async def test_the_first_sender_is_asked_and_told(connect: OpenClient, order: str) -> None:
    """Progress and questions are the first sender's; the others get the outcome."""
    client = await connect(path="/sdk-deeds")
    first = await client.post(call("ask", {"order": order}, id="first", token="t"))
    progress, question = await first.next_message(), await first.next_message()
    assert (progress["method"], question["method"]) == ("notifications/progress", "elicitation/create")
    second = client.posting(call("ask", {"order": order}, id="second", token="u"))
    await client.reply(question["id"], {"action": "accept", "content": {"name": "Ada"}})
    gates[order].open()
    answers = [(await first.messages())[-1], await (await second).json()]
    assert [json.loads(said(each["result"]))["content"] for each in answers] == [{"name": "Ada"}] * 2
    assert happened[order] == 1


async def test_a_question_to_a_sender_who_has_left_fails_at_once(door: Door, order: str) -> None:
    """In 2026-07-28: the call waits for an answer that nobody would give."""
    asks = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}
    message, ann = modern(call("ask", {"order": order}), **asks), authorization(TOKENS["ann"])
    asked = (await (await post(door, message, path="/sdk-deeds", **ann)).json())["result"]
    assert asked["resultType"] == "input_required"
    waits = asyncio.create_task(post(door, message, path="/sdk-deeds", **ann))
    await somebody_waits()
    first = next(each for each in get_hub().calls if isinstance(each, SuspendableCall))
    first.cancel("The client has left", "cancelled")
    outcome = await (await waits).json()
    assert "elicitation/create" in outcome["error"]["message"]
    assert happened[order] == 0


async def test_a_call_that_is_stopped_before_its_first_step_has_not_happened(
    connect: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As whatever begins while the process stops."""
    client, order, start = await connect(path="/sdk-deeds"), new_order(), IdempotentCall._start

    def stopped(running: IdempotentCall, work: Any) -> None:
        start(running, work)
        running.cancel("The server stopped", "worker_lost")

    with monkeypatch.context() as patched:
        patched.setattr(IdempotentCall, "_start", stopped)
        answer = await client.ask(call("pay", {"order": order}))
    assert answer["error"]["data"] == {"reason": "worker_lost"}
    assert happened[order] == 0
    await client.call("pay", {"order": order})
    assert happened[order] == 1


@either_library
async def test_a_tool_is_looked_at_again_when_something_is_declared(connect: OpenClient, path: str) -> None:
    client, order = await connect(path=path), new_order()
    assert [await client.call("plain", {"order": order}) for _ in range(2)] == ["1", "2"]
    server, name = SERVERS[path], f"plain_{order}"

    async def plain(order: str) -> str:
        return str(did(order))

    tool = server.tool(name=name)
    tool(plain)
    assert [await client.call(name, {"order": order}) for _ in range(2)] == ["3", "4"]
    once(key="order")(plain)
    assert [await client.call(name, {"order": order}) for _ in range(2)] == ["5", "5"]


def test_what_is_declared_must_make_sense() -> None:
    def pay(order: str) -> None: ...

    for options in ({}, {"key": "ordre"}, {"rerun_if_lost": True}):
        with pytest.raises(TypeError, match="once"):
            once(**options)(pay)  # type: ignore[arg-type]
    assert once(key=["order"], within=5)(pay) is pay
