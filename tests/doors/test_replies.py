"""What a POST is answered by: 202, JSON, or a stream."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pytest

from mcp_sessions.delivery import retry
from mcp_sessions.exceptions import StoreBusy, StoreUnavailable
from mcp_sessions.models import Stream, StreamEvent
from mcp_sessions.stores import get_store
from tests.doors.client import VERSIONS, call, notification, request, text_of
from tests.doors.conftest import OpenClient, either_loop, every_door, streaming
from tests.process import in_thread, rows
from tests.servers import gates

LOGGED = {"info": "a", "error": "b"}


@every_door
async def test_a_result_that_comes_first_is_json_and_leaves_no_rows(connect: OpenClient) -> None:
    client = await connect()
    before = await rows()
    response = await client.post(call("echo", {"text": "ä 😀 \u2028"}))
    assert response.headers["content-type"] == "application/json"
    assert text_of(await response.json()) == "ä 😀 \u2028"
    assert await rows() == before


@every_door
async def test_notifications_and_responses_are_202_and_empty(connect: OpenClient) -> None:
    client = await connect()
    for message in (
        notification("notifications/initialized"),
        notification("notifications/roots/list_changed"),
        notification("notifications/no/such", {"a": [1]}),
        notification("notifications/cancelled", {"requestId": "unknown"}),
        notification("notifications/progress", {"progressToken": "unknown", "progress": 1}),
        {"jsonrpc": "2.0", "id": "unknown", "result": {}},
        {"jsonrpc": "2.0", "id": 5, "error": {"code": -1, "message": "no"}},
    ):
        response = await client.post(message)
        assert (response.status, await response.body()) == (202, b""), message
        assert "content-type" not in response.headers


@streaming
@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreBusy("locked")])
async def test_a_call_that_has_begun_is_not_answered_as_if_it_had_not(
    connect: OpenClient, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a 503, a client or a proxy may send the request again."""
    monkeypatch.setattr(retry, "PAUSES", ())
    client = await connect()
    with mock.patch.object(get_store(), "aopen_stream", side_effect=error):
        response = await client.post(call("progress", {"steps": 1}, token="t"))
        message = await response.json()
    assert (response.status, response.headers.get("retry-after")) == (500, None)
    assert (message["id"], message["error"]["data"]) == (1, {"reason": "worker_lost"})
    assert message["error"]["message"] == "The answer to the call cannot be stored: its outcome is unknown"
    assert [line for line in caplog.messages if "of a call that has begun cannot be opened" in line]


@streaming
@pytest.mark.parametrize("version", VERSIONS)
async def test_what_comes_before_the_result_makes_it_a_stream(connect: OpenClient, version: str) -> None:
    client = await connect(version=version)
    response = await client.post(call("progress", {"steps": 3}, id="p", token="t"))
    assert response.status == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    events = await response.events()
    if version == "2025-11-25":
        priming = events.pop(0)
        assert priming.is_priming and priming.retry is None
    assert not any(event.is_priming for event in events)
    ids = [event.id for event in events]
    assert None not in ids and len(set(ids)) == len(ids)
    *steps, result = [event.json() for event in events]
    assert [step["params"]["progress"] for step in steps] == [1, 2, 3]
    assert {step["params"]["progressToken"] for step in steps} == {"t"}
    assert steps[0]["params"]["message"] == "step 1" and steps[0]["params"]["total"] == 3
    assert result["id"] == "p" and text_of(result) == "done"


@pytest.mark.parametrize("token", [0, 7, "7", "", "ä\x00", 2**70])
async def test_the_progress_token_keeps_its_type(connect: OpenClient, token: Any) -> None:
    client = await connect()
    first, *_ = await (await client.post(call("progress", {"steps": 1}, token=token))).messages()
    assert first["params"]["progressToken"] == token
    assert type(first["params"]["progressToken"]) is type(token)


async def test_without_a_progress_token_there_is_no_progress(connect: OpenClient) -> None:
    client = await connect()
    for token in (None, True, 1.5, [1], {"a": 1}):
        response = await client.post(call("progress", {"steps": 3}, token=token))
        assert response.headers["content-type"] == "application/json", token
        await response.json()
    assert (await rows())["Stream"] == 0


async def test_a_log_message_makes_it_a_stream(connect: OpenClient) -> None:
    client = await connect()
    *logged, result = await (await client.post(call("log", {"texts": LOGGED}))).messages()
    assert [(each["method"], each["params"]["level"], each["params"]["data"]) for each in logged] == [
        ("notifications/message", "info", "a"),
        ("notifications/message", "error", "b"),
    ]
    assert text_of(result) == "logged"


async def test_a_question_makes_it_a_stream(connect: OpenClient) -> None:
    client = await connect()
    response = await client.post(call("elicit", {"message": "who?"}))
    question = await response.next_message()
    assert question["method"] == "elicitation/create"
    await client.reply(question["id"], {"action": "decline"})
    assert len(await response.messages()) == 1


@streaming
async def test_a_long_call_becomes_a_stream(connect: OpenClient, gate: str) -> None:
    client = await connect(path="/soon")
    response = await client.post(call("slow", {"gate": gate}))
    assert response.is_stream
    assert (await response.next_event()).is_priming
    gates[gate].open()
    (result,) = await response.messages()
    assert text_of(result) == "done"
    stream, event = await in_thread(lambda: (Stream.objects.get(), StreamEvent.objects.get()))
    assert stream.kind == "post" and stream.ended_at is not None
    assert json.loads(event.data) == result


async def test_streams_may_be_served_without_priming(connect: OpenClient, settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "PRIMING_EVENTS": False}
    client = await connect()
    first, *_ = await (await client.post(call("progress", {"steps": 1}, token=1))).events()
    assert first.is_message


@either_loop
async def test_two_calls_at_once_do_not_wait_for_each_other(connect: OpenClient, gate: str) -> None:
    client = await connect()
    slow = client.posting(call("slow", {"gate": gate}, id=1))
    await gates[gate].reached()
    assert await client.call("echo", {"text": "meanwhile"}, id=2) == "meanwhile"
    assert not slow.done()
    gates[gate].open()
    assert text_of(await (await slow).json()) == "done"


@streaming
async def test_two_streams_carry_each_its_own(connect: OpenClient) -> None:
    client = await connect()
    first = await client.post(call("progress", {"steps": 3}, id="a", token="a"))
    second = await client.post(call("progress", {"steps": 3}, id="b", token="b"))
    for response, name in ((second, "b"), (first, "a")):
        *steps, result = await response.messages()
        assert {step["params"]["progressToken"] for step in steps} == {name}
        assert (len(steps), result["id"]) == (3, name)


# What tools return and raise


async def test_a_tool_that_fails_says_so(connect: OpenClient) -> None:
    client = await connect()
    failed = await client.ask(call("fail", id=1))
    assert failed["result"]["isError"] is True
    refused = await client.ask(call("refuse", id=2))
    assert refused["result"]["isError"] is True
    assert "not today" in refused["result"]["content"][0]["text"]


@either_loop
async def test_a_synchronous_tool_may_use_the_orm(connect: OpenClient) -> None:
    client = await connect()
    assert await client.call("count_sessions") == await client.call("acount_sessions") == "1"


async def test_resources_and_prompts(connect: OpenClient) -> None:
    client = await connect()
    for uri, text in (("note://static", "a static note"), ("note://7", "note 7")):
        answer = await client.ask(request("resources/read", {"uri": uri}))
        assert answer["result"]["contents"][0]["text"] == text
    answer = await client.ask(request("prompts/get", {"name": "greeting", "arguments": {"name": "Ada"}}))
    assert answer["result"]["messages"][0]["content"]["text"] == "Greet Ada"


async def test_a_result_is_json_whatever_the_tool_returned(connect: OpenClient) -> None:
    """response.json() refuses NaN and Infinity, which Python writes and no JSON parser must read."""
    client = await connect()
    for tool, arguments in (("not_a_number", {}), ("numbers", {}), ("echo_json", {"value": 1e999})):
        response = await client.post(call(tool, arguments))
        assert set(await response.json()) <= {"jsonrpc", "id", "result", "error"}


# Batches (2025-03-26)


async def test_a_batch_is_answered_by_an_array(connect: OpenClient) -> None:
    client = await connect(version="2025-03-26")
    batch = [
        request("ping", id="p"),
        notification("notifications/roots/list_changed"),
        call("echo", {"text": "a"}, id=1),
        request("no/such", id="1"),
    ]
    response = await client.post(batch)
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    answers = {json.dumps(each["id"]): each for each in await response.json()}
    assert set(answers) == {'"p"', "1", '"1"'}
    assert answers['"p"']["result"] == {}
    assert text_of(answers["1"]) == "a"
    assert answers['"1"']["error"]["code"] == -32601


async def test_a_batch_of_one_is_answered_by_an_array_of_one(connect: OpenClient) -> None:
    client = await connect(version="2025-03-26")
    response = await client.post([request("ping")])
    assert await response.json() == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


async def test_a_batch_without_requests_is_202(connect: OpenClient) -> None:
    client = await connect(version="2025-03-26")
    for batch in (
        [notification("notifications/initialized"), notification("notifications/roots/list_changed")],
        [{"jsonrpc": "2.0", "id": "a", "result": {}}, {"jsonrpc": "2.0", "id": "b", "result": {}}],
    ):
        response = await client.post(batch)
        assert (response.status, await response.body()) == (202, b"")


@streaming
async def test_a_batch_may_become_a_stream(connect: OpenClient) -> None:
    client = await connect(version="2025-03-26")
    response = await client.post(
        [
            call("progress", {"steps": 2}, id="a", token="t"),
            call("log", {"texts": LOGGED}, id="b"),
            request("ping", id="c"),
        ]
    )
    messages = await response.messages()
    assert sorted(message["id"] for message in messages if "id" in message) == ["a", "b", "c"]
    assert sum("method" in message for message in messages) == 4


@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25"])
async def test_other_revisions_have_no_batches(connect: OpenClient, version: str) -> None:
    client = await connect(version=version)
    before = await rows()
    for batch in ([request("ping")], [notification("notifications/initialized")]):
        response = await client.post(batch)
        message = await response.json()
        assert response.status == 400
        assert message["error"]["code"] == -32600 and "id" not in message
    assert await rows() == before


async def test_initialize_is_no_part_of_a_batch(connect: OpenClient) -> None:
    client = await connect(version="2025-03-26")
    before = await rows()
    initialize = request(
        "initialize",
        {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}},
    )
    for batch in ([initialize], [initialize, request("ping", id=2)]):
        for session_id in (client.session_id, None):
            response = await client.post(batch, {"Mcp-Session-Id": session_id})
            assert response.status == 400, batch
            assert "mcp-session-id" not in response.headers
    assert await rows() == before


async def test_a_batch_is_refused_whole(connect: OpenClient) -> None:
    """One message that is none, and nothing of the batch has happened."""
    client = await connect(version="2025-03-26")
    add = call("add", {"item": "tea"}, id=2)
    for wrong in (1, None, [], [request("ping")], {}, {"jsonrpc": "2.0"}, {**request("ping"), "id": None}):
        response = await client.post([add, wrong])
        assert response.status == 400, wrong
        assert (await response.json())["error"]["code"] == -32600
    answer = await client.ask(call("basket"))
    assert answer["result"]["structuredContent"] == {"result": []}


async def test_a_batch_has_a_limit(connect: OpenClient) -> None:
    client = await connect(version="2025-03-26", path="/small")
    assert await client.status([request("ping", id=id) for id in range(3)]) == 200
    assert await client.status([request("ping", id=id) for id in range(4)]) == 400
    assert await client.status([]) == 400
