"""What a client gets wrong is told to it, and is no error of the server's in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.doors.client import McpClient, call, request
from tests.doors.conftest import on_mount
from tests.doors.doors import Door
from tests.doors.test_modern import modern, post

pytestmark = [pytest.mark.django_db(transaction=True), on_mount]

SERVERS: Final = {
    path: {
        "SERVER": f"tests.hostile:{name}",
        "STREAM_AFTER_SECONDS": 60,
    }
    for path, name in (("/official", "server"), ("/low", "low"), ("/fast", "fast"))
}
INVALID_PARAMS: Final = -32602
LINES: Final = "two\nlines\r\x1b[31m"


@pytest.fixture(autouse=True)
def other_servers(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": SERVERS}


@pytest.fixture
def door(other_servers: None, door: Door) -> Door:
    """The door, opened to these servers."""
    return door


def prompt(name: Any, arguments: Any = None) -> dict[str, Any]:
    return request("prompts/get", {"name": name, **({} if arguments is None else {"arguments": arguments})})


def completion(reference: Mapping[str, Any], argument: Any) -> dict[str, Any]:
    return request("completion/complete", {"ref": dict(reference), "argument": argument})


TOOLS: Final = [
    call("no such tool"),
    call(LINES),
    call("double"),
    call("double", {"n": "many"}),
    call("double_in_thread", {"n": ["many"]}),
    call("double_in_thread", {"m": 1}),
]
"""A model reads what was wrong with a call of a tool, and tries again: that is a result."""
PARAMS: Final = [
    prompt("no such prompt"),
    prompt(LINES),
    prompt("double"),
    prompt("double", {}),
    prompt("double", {"n": "many"}),
    prompt("double", {"m": "1"}),
    prompt("double_in_thread"),
    prompt("double_in_thread", {"n": "many"}),
    prompt("double", {"n": 1}),
    prompt("double", ["n"]),
    prompt(1),
    request("resources/read", {"uri": "no-such://thing"}),
    request("resources/read", {"uri": LINES}),
    request("resources/read", {}),
    request("resources/read", {"uri": 1}),
    request("tools/call", {"name": 1}),
    request("tools/call", {"name": "double", "arguments": [1]}),
    request("tools/list", {"cursor": 1}),
    completion({"type": "ref/nothing"}, {"name": "n", "value": "1"}),
    completion({"type": "ref/prompt"}, {"name": "n", "value": "1"}),
    completion({"type": "ref/prompt", "name": "double"}, {"name": "n"}),
]
TEMPLATES: Final = [
    request("resources/read", {"uri": "double://many"}),
    request("resources/read", {"uri": "double-in-thread://many"}),
    request("resources/read", {"uri": "double://../../etc"}),
]
TOO_MUCH: Final = prompt("double", {"n": "1", "m": "1"})
"""FastMCP takes no notice of arguments that a prompt does not have."""
MISTAKES: Final = [*TOOLS, *PARAMS, *TEMPLATES]


def is_named(message: Mapping[str, Any]) -> bool:
    """Whether what is called can be named in a header too, as the revision without sessions has it."""
    params = message["params"]
    return all(
        isinstance(params.get(name, ""), str) and params.get(name) != LINES for name in ("name", "uri")
    )


@pytest.mark.parametrize("is_modern", [False, True], ids=["session", "modern"])
@pytest.mark.parametrize("path", ["/official", "/fast"])
async def test_what_a_client_gets_wrong(
    door: Door, path: str, is_modern: bool, caplog: pytest.LogCaptureFixture
) -> None:
    client = await McpClient(door, path=path).open()
    wrong = []
    for number, message in enumerate([*MISTAKES, *([] if path == "/fast" else [TOO_MUCH])]):
        caplog.clear()
        message = {**message, "id": number}
        if is_modern:
            if not is_named(message):
                continue
            answer = await (await post(door, modern(message), path=path)).json()
        else:
            answer = await client.ask(message)
        code = answer.get("error", {}).get("code")
        is_told = answer["result"].get("isError") if code is None else code == INVALID_PARAMS
        loud = [each for each in caplog.records if each.levelno >= logging.ERROR or each.exc_info]
        if not is_told or loud:
            wrong.append((message, answer, loud))
    assert not wrong, "\n".join(map(str, wrong))
