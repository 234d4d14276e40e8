"""Elicitation by URL (2025-11-25): the user is sent elsewhere, and what is entered there no client sees."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.doors.client import call, text_of
from tests.doors.conftest import OpenClient
from tests.doors.doors import Door
from tests.doors.test_modern import modern, post
from tests.links import ID, URL

pytestmark = pytest.mark.django_db(transaction=True)

PREFIX: Final = "io.modelcontextprotocol/"
PATHS: Final = ("/links", "/fast-links")
BY_URL: Final = {"elicitation": {"form": {}, "url": {}}}
ASKED: Final = {"mode": "url", "message": "Authorize it", "url": URL, "elicitationId": ID}
either_library = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(autouse=True)
def other_servers(settings: Any) -> None:
    servers = {"/links": "tests.links:server", "/fast-links": "tests.links:fast"}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": servers}


@pytest.fixture
def door(other_servers: None, door: Door) -> Door:
    """The door, opened to these servers."""
    return door


@either_library
@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
async def test_a_client_is_asked_and_told_when_it_is_done(
    connect: OpenClient, path: str, action: str
) -> None:
    client = await connect(path=path, capabilities=BY_URL)
    response = await client.post(call("pay", id="p"))
    question = await response.next_message()
    assert (question["method"], question["params"]) == ("elicitation/create", ASKED)
    await client.reply(question["id"], {"action": action})
    done, result = await response.messages()
    assert done["method"] == "notifications/elicitation/complete"
    assert done["params"] == {"elicitationId": ID}
    assert text_of(result) == action


@either_library
@pytest.mark.parametrize("declared", [{}, {"form": {}}, None])
async def test_a_client_that_did_not_declare_it_is_not_asked(
    connect: OpenClient, path: str, declared: dict[str, Any] | None
) -> None:
    capabilities = {} if declared is None else {"elicitation": declared}
    client = await connect(path=path, capabilities=capabilities)
    response = await client.post(call("pay"))
    assert not response.is_stream
    assert "did not declare 'elicitation" in json.dumps(await response.json())


async def test_a_tool_may_refuse_until_the_user_has_been_there(connect: OpenClient) -> None:
    client = await connect(path="/links", capabilities=BY_URL)
    error = (await client.ask(call("pay_elsewhere")))["error"]
    assert error["code"] == -32042
    assert error["data"] == {"elicitations": [ASKED]}


async def test_in_2026_07_28_such_a_refusal_has_a_code_that_is_known_there(door: Door) -> None:
    told = await post(door, modern(call("pay_elsewhere")), path="/links")
    error = (await told.json())["error"]
    assert (error["code"], error["data"]) == (-32600, {"elicitations": [ASKED]})


@either_library
async def test_in_2026_07_28_it_is_asked_by_input_required(door: Door, path: str) -> None:
    asked = modern(call("pay"), **{f"{PREFIX}clientCapabilities": BY_URL})
    result = (await (await post(door, asked, path=path)).json())["result"]
    [(key, question)] = result["inputRequests"].items()
    params = {name: value for name, value in ASKED.items() if name != "elicitationId"}
    assert question == {"method": "elicitation/create", "params": params}
    asked["params"] |= {"inputResponses": {key: {"action": "accept"}}, "requestState": result["requestState"]}
    response = await post(door, asked, path=path)
    messages = await response.messages() if response.is_stream else [await response.json()]
    assert [message["result"]["content"][0]["text"] for message in messages] == ["accept"]


@either_library
async def test_in_2026_07_28_a_client_that_knows_forms_alone_is_not_asked(door: Door, path: str) -> None:
    capabilities = {"elicitation": {"form": {}}}
    told = await post(door, modern(call("pay"), **{f"{PREFIX}clientCapabilities": capabilities}), path=path)
    assert "did not declare 'elicitation.url'" in json.dumps(await told.json())
