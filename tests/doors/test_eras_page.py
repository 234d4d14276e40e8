"""docs/eras.md: its example in every revision, and the tests that its table names."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from mcp.server.lowlevel import Server
from mcp_types.methods import SPEC_CLIENT_METHODS

from tests.doors.client import VERSIONS, call
from tests.doors.conftest import OpenClient
from tests.doors.doors import Door
from tests.doors.test_modern import modern, post

TESTS: Final = Path(__file__).resolve().parent.parent
PAGE: Final = (TESTS.parent / "docs/eras.md").read_text()
CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
FORMS: Final = {"elicitation": {"form": {}}}
YES: Final = {"action": "accept", "content": {"confirm": True}}


@pytest.fixture
def shop(settings: Any) -> Iterator[None]:
    (code,) = re.findall(r"<!-- tested: shop -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    module = sys.modules["page_of_eras"] = ModuleType("page_of_eras")
    exec(code, vars(module))
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": {"/shop": "page_of_eras:server"}}
    yield
    del sys.modules["page_of_eras"]


@pytest.fixture
def door(shop: None, door: Door) -> Door:
    """The door, opened to this server."""
    return door


async def modern_call(door: Door, message: dict[str, Any]) -> list[dict[str, Any]]:
    response = await post(door, modern(message, **{CAPABILITIES: FORMS}), path="/shop")
    return list(await response.messages() if response.is_stream else [await response.json()])


async def handle(door: Door) -> str:
    (opened,) = await modern_call(door, call("open_session"))
    return str(opened["result"]["structuredContent"]["session"])


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_example_keeps_its_basket(connect: OpenClient, version: str) -> None:
    client = await connect(path="/shop", version=version, capabilities={})
    for expected in (["pen"], ["pen", "pen"]):
        added = await client.ask(call("add_to_basket", {"sku": "pen"}))
        assert [each["text"] for each in added["result"]["content"]] == expected


async def test_the_example_keeps_its_basket_without_a_handshake(door: Door) -> None:
    session = await handle(door)
    for expected in (["pen"], ["pen", "pen"]):
        (added,) = await modern_call(door, call("add_to_basket", {"sku": "pen", "session": session}))
        assert added["result"]["structuredContent"]["result"] == expected


@pytest.mark.parametrize("version", VERSIONS[2:])
async def test_the_example_asks_the_user(connect: OpenClient, version: str) -> None:
    client = await connect(path="/shop", version=version, capabilities={"elicitation": {}})
    response = await client.post(call("empty_basket", token="t"))
    progress, question = [await response.next_message() for _ in range(2)]
    assert (progress["method"], question["method"]) == ("notifications/progress", "elicitation/create")
    await client.reply(question["id"], YES)
    assert (await response.messages())[-1]["result"]["content"][0]["text"] == "The basket is empty."


async def test_the_example_asks_the_user_without_a_handshake(door: Door) -> None:
    message = call("empty_basket", {"session": await handle(door)})
    asked = (await modern_call(door, message))[-1]["result"]
    (key,) = asked["inputRequests"]
    message["params"] |= {"inputResponses": {key: YES}, "requestState": asked["requestState"]}
    done = (await modern_call(door, message))[-1]["result"]
    assert done["content"][0]["text"] == "The basket is empty."


def test_the_tests_that_the_page_names_are_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and ".py::" in line]
    assert len(named) >= len(rows) > 10
    for path, test in named:
        assert re.search(rf"^(async )?def {test}\b", (TESTS / path).read_text(), re.MULTILINE), (path, test)


def test_the_official_sdk_has_no_tasks_for_servers() -> None:
    """Should this fail, tasks are there to be served: the page, and the app, have to follow."""
    assert not [method for method in SPEC_CLIENT_METHODS if method.startswith("tasks/")]
    assert "tasks" not in Server("any").get_capabilities().model_dump(exclude_none=True)
