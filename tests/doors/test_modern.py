"""Revision 2026-07-28 on the same URL, served by the SDK."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest

from mcp_sessions.delivery.pending_requests import PendingRequests
from mcp_sessions.exceptions import TooManyPendingRequests
from mcp_sessions.runtime import Runtime
from tests.doors.client import BOTH, LATEST, McpClient, call, initialize, notification, request, text_of
from tests.doors.conftest import OpenClient, either_loop, every_door, streaming, under_wsgi
from tests.doors.doors import AsgiDoor, Door, Response, pairs
from tests.process import eventually, only_session, rows
from tests.servers import gates

MODERN: Final = "2026-07-28"
VERSION: Final = "io.modelcontextprotocol/protocolVersion"
ENVELOPE: Final = {
    VERSION: MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "doors", "version": "1"},
}
NO_ROWS: Final = {"Session": 0, "Stream": 0, "StreamEvent": 0, "Subscription": 0}


def modern(message: dict[str, Any], **envelope: Any) -> dict[str, Any]:
    params = dict(message.get("params", {}))
    params["_meta"] = {**ENVELOPE, **params.get("_meta", {}), **envelope}
    return {**message, "params": params}


async def post(
    door: Door,
    message: dict[str, Any],
    version: str | None = MODERN,
    path: str = "/mcp",
    **headers: str | None,
) -> Response:
    params = message.get("params", {})
    told = {
        "MCP-Protocol-Version": version,
        "Mcp-Method": message.get("method"),
        "Mcp-Name": params.get("name") or params.get("uri"),
        "Accept": BOTH,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await McpClient(door, path=path).post(message, told)


@pytest.mark.parametrize("version", [MODERN, "1999-01-01", "DRAFT-2027-v1"])
async def test_where_it_is_not_served_clients_are_sent_to_the_handshake(door: Door, version: str) -> None:
    asked = modern(request("tools/list", id="d"), **{VERSION: version})
    response = await post(door, asked, version, path="/handshake")
    message = await response.json()
    assert (response.status, message["id"]) == (400, "d")
    assert message["error"]["code"] == -32022
    assert message["error"]["data"]["requested"] == version
    assert LATEST in message["error"]["data"]["supported"]
    assert MODERN not in message["error"]["data"]["supported"]
    assert await rows() == NO_ROWS


async def test_discover(door: Door) -> None:
    response = await post(door, modern(request("server/discover", id="d")))
    message = await response.json()
    assert (response.status, message["id"]) == (200, "d")
    result = message["result"]
    assert result["resultType"] == "complete"
    assert MODERN in result["supportedVersions"]
    assert "tools" in result["capabilities"]
    assert await rows() == NO_ROWS


@every_door
async def test_a_tool_call(door: Door) -> None:
    response = await post(door, modern(call("echo", {"text": "ä"}, id=7)))
    message = await response.json()
    assert (response.status, message["id"]) == (200, 7)
    assert message["result"]["resultType"] == "complete"
    assert text_of(message) == "ä"
    assert "mcp-session-id" not in response.headers
    assert await rows() == NO_ROWS


async def test_a_call_that_ends_before_it_begins_is_answered(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopping process may cancel its task before the first step."""
    spawn = Runtime.spawn

    def spawn_and_cancel(self: Runtime, work: Any, name: str, *rest: Any) -> asyncio.Task[Any]:
        task = spawn(self, work, name, *rest)
        if name == "modern":
            task.cancel()
        return task

    monkeypatch.setattr(Runtime, "spawn", spawn_and_cancel)
    response = await post(door, modern(call("echo", {"text": "never"}, id=7)))
    assert (response.status, (await response.json())["error"]["code"]) == (500, -32603)


async def test_who_takes_events_alone_gets_an_event(door: Door) -> None:
    asked = modern(call("echo", {"text": "ä"}, id=7))
    (event,) = await (await post(door, asked, Accept="text/event-stream")).events()
    assert text_of(event.json()) == "ä"


async def test_strict_accept_holds_here_too(door: Door, settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "STRICT_ACCEPT": True}
    for accept in BOTH.split(", "):
        refused = await post(door, modern(call("echo", {"text": "ä"}, id=7)), Accept=accept)
        assert (refused.status, (await refused.json())["id"]) == (406, 7)


@either_loop
async def test_tools_may_use_the_orm(door: Door) -> None:
    for tool in ("count_sessions", "acount_sessions"):
        message = await (await post(door, modern(call(tool)))).json()
        assert text_of(message) == "0"


async def test_a_session_id_is_ignored(connect: OpenClient) -> None:
    client = await connect()
    for session_id in (client.session_id, "A" * 32, "nonsense!"):
        response = await post(client.door, modern(call("seen")), Mcp_Session_Id=session_id)
        message = await response.json()
        assert response.status == 200
        assert str(session_id) not in json.dumps(message)
    message = await (
        await post(client.door, modern(call("session_key")), Mcp_Session_Id=client.session_id)
    ).json()
    # There is no session to get; what the exception says is for the server's log.
    assert message["result"]["isError"] is True


@pytest.mark.parametrize("version", ["1900-01-01", "2099-01-01", "nonsense"])
async def test_an_unknown_version_is_refused_with_what_is_supported(door: Door, version: str) -> None:
    message = modern(request("tools/list", id="v"), **{VERSION: version})
    response = await post(door, message, version)
    answer = await response.json()
    assert (response.status, answer["id"]) == (400, "v")
    assert answer["error"]["code"] == -32022
    assert answer["error"]["data"]["requested"] == version
    assert MODERN in answer["error"]["data"]["supported"]


@every_door
async def test_the_refusals_of_the_revision(door: Door) -> None:
    echo = modern(call("echo", {"text": "a"}, id="r"))
    bare = call("echo", {"text": "a"}, id="r")
    no_capabilities = modern(bare, **{"io.modelcontextprotocol/clientCapabilities": None})
    cases: list[tuple[str, dict[str, Any], dict[str, str | None], int, int]] = [
        ("no envelope", bare, {}, 400, -32602),
        ("no capabilities", no_capabilities, {}, 400, -32602),
        ("another method", echo, {"Mcp_Method": "tools/list"}, 400, -32020),
        ("no method header", echo, {"Mcp_Method": None}, 400, -32020),
        ("another name", echo, {"Mcp_Name": "slow"}, 400, -32020),
        ("no name header", echo, {"Mcp_Name": None}, 400, -32020),
        ("a legacy header", echo, {"MCP_Protocol_Version": LATEST}, 400, -32020),
        ("no version header", echo, {"MCP_Protocol_Version": None}, 400, -32020),
        ("unknown method", modern(request("no/such", id="r")), {}, 404, -32601),
        ("a method that is gone", modern(request("ping", id="r")), {}, 404, -32601),
        ("initialize", modern({**initialize(), "id": "r"}), {}, 404, -32601),
    ]
    wrong = []
    for name, message, headers, status, code in cases:
        response = await post(door, message, MODERN, **headers)
        answer = await response.json()
        if (response.status, answer["error"]["code"], answer["id"]) != (status, code, "r"):
            wrong.append((name, response.status, answer))
    assert not wrong
    assert await rows() == NO_ROWS


async def test_a_notification_is_accepted(door: Door) -> None:
    response = await post(door, modern(notification("notifications/cancelled", {"requestId": 1})))
    assert (response.status, await response.body()) == (202, b"")


@every_door
async def test_there_is_only_post(connect: OpenClient) -> None:
    client = await connect()
    for method in ("DELETE", "GET") if client.door.has_get else ("DELETE",):
        response = await client.send(method, headers={"MCP-Protocol-Version": MODERN, "Accept": BOTH})
        assert (response.status, response.headers["allow"]) == (405, "POST")
        assert "error" in await response.json()
    assert await client.status() == 200


@streaming
async def test_progress_makes_it_a_stream_without_ids(door: Door) -> None:
    response = await post(door, modern(call("progress", {"steps": 2}, token="t")))
    assert response.is_stream
    events = await response.events()
    assert [event.id for event in events] == [None] * 3
    *steps, result = [event.json() for event in events]
    assert [step["params"]["progress"] for step in steps] == [1, 2]
    assert text_of(result) == "done"
    assert await rows() == NO_ROWS


@streaming
async def test_leaving_the_stream_is_the_cancellation(door: Door, gate: str) -> None:
    response = await post(door, modern(call("progress", {"steps": 2, "gate": gate}, token="t")))
    await response.next_message()
    await gates[gate].reached()
    await response.disconnect()
    await eventually(lambda: gates[gate].log)
    assert gates[gate].log == ["cancelled"]


@streaming
async def test_leaving_before_the_stream_began_is_the_cancellation_too(door: AsgiDoor, gate: str) -> None:
    message = modern(call("progress", {"steps": 2, "gate": gate}, token="t"))
    headers = {
        "Content-Type": "application/json",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "progress",
    }
    body = json.dumps(message).encode()
    await (await door.start("POST", "/mcp", pairs(headers), [body], takes_nothing=True))
    await door.finished()
    await eventually(lambda: gates[gate].log)
    assert gates[gate].log == ["cancelled"]


@streaming
async def test_listening(door: Door) -> None:
    listen = modern(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="l"))
    response = await post(door, listen)
    acknowledged = await response.next_message()
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    await response.disconnect()


@under_wsgi
async def test_under_wsgi_nobody_can_listen(door: Door) -> None:
    listen = modern(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="l"))
    response = await post(door, listen)
    assert response.status == 406
    assert (await response.json())["id"] == "l"


@under_wsgi
async def test_under_wsgi_a_call_that_reports_progress_is_answered(door: Door) -> None:
    response = await post(door, modern(call("progress", {"steps": 2}, token="t")))
    assert response.status == 200
    assert text_of(await response.json()) == "done"


@pytest.mark.parametrize(
    ("tool", "arguments", "capability", "method", "answer", "text"),
    [
        (
            "elicit",
            {"message": "who?"},
            "elicitation",
            "elicitation/create",
            {"action": "decline"},
            '{"action": "decline", "content": null}',
        ),
        (
            "sample",
            {"prompt": "hi"},
            "sampling",
            "sampling/createMessage",
            {"role": "assistant", "content": {"type": "text", "text": "ho"}, "model": "m"},
            "ho",
        ),
    ],
)
async def test_a_tool_that_asks_in_a_session_asks_without_one_too(
    door: Door, tool: str, arguments: Any, capability: str, method: str, answer: Any, text: str
) -> None:
    declared = {"io.modelcontextprotocol/clientCapabilities": {capability: {}}}
    asking = call(tool, arguments)
    asked = (await (await post(door, modern(asking, **declared))).json())["result"]
    [(key, question)] = asked["inputRequests"].items()
    assert (asked["resultType"], question["method"]) == ("input_required", method)
    answers = {"inputResponses": {key: answer}, "requestState": asked["requestState"]}
    again = {**asking, "id": 2, "params": {**asking["params"], **answers}}
    assert text_of(await (await post(door, modern(again, **declared))).json()) == text
    # The session that the call had for itself has ended with it.
    assert (await only_session()).end_reason == "deleted"


@pytest.mark.parametrize("declared", [{}, {"roots": {}}])
@pytest.mark.parametrize(("tool", "arguments"), [("elicit", {"message": "?"}), ("sample", {"prompt": "?"})])
async def test_a_client_that_declared_nothing_is_not_asked(
    door: Door, tool: str, arguments: Any, declared: Any
) -> None:
    envelope = {"io.modelcontextprotocol/clientCapabilities": declared}
    response = await post(door, modern(call(tool, arguments), **envelope))
    assert "The client did not declare" in json.dumps(await response.json())


DECLARED: Final = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
ASKING: Final = call("elicit", {"message": "who?"})


async def test_a_call_that_asks_counts_among_what_opens_sessions(door: Door, settings: Any) -> None:
    """Each has a session of its own, where its client is anonymous."""
    limits = {"RATE_LIMITS": {"opening": "1/h"}}
    await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", {**settings.MCP_SESSIONS, **limits})
    first = (await (await post(door, modern(ASKING, **DECLARED))).json())["result"]
    assert first["resultType"] == "input_required"
    again = (await (await post(door, modern(ASKING, **DECLARED))).json())["error"]
    assert again["data"]["reason"] == "rate_limited", again
    assert (await rows())["Session"] == 1


async def test_a_requests_state_is_bound_as_a_session_is(door: Door, settings: Any) -> None:
    binding = {"SESSION_BINDING": {"user_agent": "reject"}}
    await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", {**settings.MCP_SESSIONS, **binding})
    asked = (await (await post(door, modern(ASKING, **DECLARED))).json())["result"]
    answers = {key: {"action": "decline"} for key in asked["inputRequests"]}
    answered = {"inputResponses": answers, "requestState": asked["requestState"]}
    again = modern({**ASKING, "params": {**ASKING["params"], **answered}}, **DECLARED)
    stolen = await (await post(door, again, User_Agent="another")).json()
    assert stolen["error"]["data"]["reason"] == "invalid_request_state"
    assert "decline" in text_of(await (await post(door, again)).json())


async def test_a_client_that_leaves_while_it_answers_cancels_the_call(door: Door, gate: str) -> None:
    declared = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
    asking = call("elicit_and_wait", {"gate": gate}, token="t")
    asked = (await (await post(door, modern(asking, **declared))).json())["result"]
    [key] = asked["inputRequests"]
    answers = {"inputResponses": {key: {"action": "decline"}}, "requestState": asked["requestState"]}
    again = {**asking, "id": 2, "params": {**asking["params"], **answers}}
    response = await post(door, modern(again, **declared))
    await gates[gate].reached()
    await response.disconnect()
    await eventually(lambda: gates[gate].log)
    assert gates[gate].log == ["cancelled"]


async def test_a_call_that_cannot_ask_is_answered(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """What became of the call is the answer to its first request, since the client was asked nothing."""

    async def refuse(*_: object) -> None:
        raise TooManyPendingRequests("It has enough to answer.")

    monkeypatch.setattr(PendingRequests, "add", refuse)
    declared = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
    response = await post(door, modern(call("elicit", {"message": "who?"}), **declared))
    assert "It has enough to answer." in str(await response.json())


@pytest.mark.parametrize("answers", [[1], "x", {"key": "x"}, {"key": None}, {"key": []}])
async def test_answers_that_can_be_none_are_refused(door: Door, answers: Any) -> None:
    declared = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
    asking = call("elicit", {"message": "who?"})
    asked = (await (await post(door, modern(asking, **declared))).json())["result"]
    if isinstance(answers, dict):
        answers = dict.fromkeys(asked["inputRequests"], answers["key"])
    given = {"inputResponses": answers, "requestState": asked["requestState"]}
    again = {**asking, "id": 2, "params": {**asking["params"], **given}}
    error = (await (await post(door, modern(again, **declared))).json())["error"]
    assert error["code"] == -32602
    # The call still waits for an answer.
    answered = {"inputResponses": {key: {"action": "decline"} for key in asked["inputRequests"]}}
    again["params"] = {**again["params"], **answered}
    assert "decline" in text_of(await (await post(door, modern(again, **declared))).json())
