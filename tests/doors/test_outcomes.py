"""Every call has an outcome: an answer, a line in the log, and a process that lives on."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import pytest

from mcp_sessions.delivery import get_hub
from tests.doors.client import McpClient, call, initialize, request
from tests.doors.conftest import on_mount
from tests.doors.doors import Door, Response
from tests.doors.test_modern import modern, post
from tests.hostile import HOW, SYNCHRONOUS, may_end
from tests.process import eventually

pytestmark = [pytest.mark.django_db(transaction=True), on_mount]

SERVERS: Final = {
    "/hostile": {"SERVER": "tests.hostile:server", "STREAM_AFTER_SECONDS": 60},
    "/low": {"SERVER": "tests.hostile:low", "STREAM_AFTER_SECONDS": 60},
    "/fast": {"SERVER": "tests.hostile:fast", "STREAM_AFTER_SECONDS": 60},
}


@pytest.fixture(autouse=True)
def hostile_servers(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": SERVERS}


@pytest.fixture
def door(hostile_servers: None, door: Door) -> Door:
    """The door, opened to these servers."""
    return door


OWN: Final = {"own-cancellation", "late-cancellation"}
"""What ends the task that the handler runs in."""
LATE: Final = "late-cancellation"
"""Of a call that is over already: whether it failed is nobody's concern."""


def attempts(path: str, how: str) -> dict[str, dict[str, Any]]:
    """A request for each place where a handler of this server can go wrong in this way."""
    reference = {"type": "ref/prompt", "name": "misbehave"}
    found = {
        "tool": call("misbehave", {"how": how}, id="tool"),
        "resource": request("resources/read", {"uri": f"misbehave://{how}"}, id="resource"),
        "prompt": request("prompts/get", {"name": "misbehave", "arguments": {"how": how}}, id="prompt"),
    }
    if path != "/fast":
        argument = {"name": "how", "value": how}
        found["completion"] = request("completion/complete", {"ref": reference, "argument": argument})
    if path == "/low":
        found["middleware"] = request("tools/list", {"_meta": {"how": how}})
        found["custom"] = request("shop/unheard-of", {"_meta": {"how": how}})
    elif how in SYNCHRONOUS:
        found["thread"] = call("misbehave_in_thread", {"how": how}, id="thread")
    return found


def is_failure(message: dict[str, Any]) -> bool:
    return "error" in message or bool(message.get("result", {}).get("isError"))


@pytest.mark.parametrize("path", ["/hostile", "/low", "/fast"])
async def test_whatever_a_handler_raises_is_answered_and_logged(
    door: Door, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = await McpClient(door, path=path).open()
    wrong = []
    for how in HOW:
        for place, message in attempts(path, how).items():
            caplog.clear()
            answer = await client.ask(message)
            is_logged = any(each.levelno >= logging.ERROR and each.exc_info for each in caplog.records)
            is_right = (is_failure(answer) and is_logged) or how == LATE
            if not is_right or answer["id"] != message["id"]:
                wrong.append((how, place, answer, caplog.messages))
    assert not wrong
    assert await client.status() == 200


@pytest.mark.parametrize("path", SERVERS)
async def test_the_same_in_the_revision_without_sessions(door: Door, path: str) -> None:
    client = McpClient(door, path=path)
    wrong = []
    for how in HOW:
        for place, message in attempts(path, how).items():
            response = await post(door, modern(message), path=path)
            messages = await response.messages() if response.is_stream else [await response.json()]
            is_right = messages and (is_failure(messages[-1]) or how == LATE)
            if not is_right or messages[-1].get("id") != message["id"]:
                wrong.append((how, place, response.status, messages))
    assert not wrong
    assert (await client.post(initialize())).status == 200


@pytest.mark.parametrize("is_modern", [False, True])
async def test_a_stream_that_has_begun_has_its_answer_too(door: Door, is_modern: bool) -> None:
    path = "/hostile"
    client = await McpClient(door, path=path).open()
    for how in HOW:
        message = call("report_and_misbehave", {"how": how}, id=how, token="t")
        response = await (post(door, modern(message), path=path) if is_modern else client.post(message))
        assert response.is_stream, how
        step, answer = await response.messages()
        assert step["params"]["progress"] == 1
        assert answer["id"] == how
        assert is_failure(answer) or how == LATE, answer


BROKEN: Final = call("misbehave", {"how": "foreign-cancellation"}, id="broken")


async def test_a_client_that_takes_json_alone_is_answered(door: Door) -> None:
    client = await McpClient(door, path="/hostile").open()
    client.more_headers = {"X-Session-ID": client.session_id, "Accept": "application/json"}
    client.session_id = None
    assert is_failure(await client.ask(BROKEN))


async def test_every_request_of_a_batch_is_answered(door: Door) -> None:
    client = await McpClient(door, path="/hostile", version="2025-03-26").open()
    batch = [{**BROKEN, "id": 1}, request("ping", id=2), {**BROKEN, "id": 3}]
    answers = {each["id"]: each for each in await (await client.post(batch)).json()}
    assert is_failure(answers[1]) and is_failure(answers[3])
    assert answers[2]["result"] == {}


async def test_a_client_of_2024_11_05_is_answered_on_its_stream(door: Door) -> None:
    client = McpClient(door, path="/hostile", version="2024-11-05")
    stream = await client.get()
    client.path = await endpoint_of(stream)
    await client._accepted(initialize("2024-11-05"))
    await stream.next_message()
    await client._accepted(BROKEN)
    answer = await stream.next_message()
    assert answer["id"] == "broken" and is_failure(answer)
    await stream.disconnect()


async def endpoint_of(stream: Response) -> str:
    while (event := await stream.next_event()).event != "endpoint":
        pass
    assert event.data is not None
    return event.data


async def test_initialize_is_answered(door: Door) -> None:
    client = McpClient(door, path="/low")
    for how in HOW:
        if how in OWN:
            continue  # as if the client had left
        message = initialize()
        message["params"]["_meta"] = {"how": how}
        response = await client.post(message)
        answer = await response.json()
        assert is_failure(answer), (how, answer)
    assert await (await client.open()).status() == 200


async def test_what_a_notification_sets_off_is_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    client = await McpClient(door, path="/low").open()
    for how in set(HOW) - OWN:
        caplog.clear()
        await client.notify("notifications/roots/list_changed", {"_meta": {"how": how}})
        await eventually(lambda: [each for each in caplog.records if each.levelno >= logging.ERROR], how)
    assert await client.status() == 200


async def test_a_tool_that_does_not_stop_is_answered_when_the_process_stops(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.delivery.drain.STOP_SECONDS", 0.01)
    stubborn = await McpClient(door, path="/hostile").open()
    stubborn.more_headers = {"X-Session-ID": stubborn.session_id, "Accept": "application/json"}
    stubborn.session_id = None
    posted = stubborn.posting(call("do_not_stop", id="s"))
    await eventually(lambda: len(list(get_hub().calls)) == 1)
    await get_hub().drain()
    answer = await (await posted).json()
    assert (answer["id"], answer["error"]["data"]["reason"]) == ("s", "worker_lost")
    # Nobody waits for it, and its end is nobody's any more.
    assert not list(get_hub().calls)
    may_end.set()
    await eventually(lambda: not [t for t in asyncio.all_tasks() if "call:tools/call" in t.get_name()])
