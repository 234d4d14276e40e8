"""The session store is unavailable while a request is served: what its client gets, and what the log has."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest import mock

import pytest

from mcp_sessions.delivery import retry
from mcp_sessions.exceptions import SessionBusy, SessionEnded, StoreBusy, StoreUnavailable
from mcp_sessions.logs.repeats import repeats
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, call, initialize, request
from tests.doors.conftest import on_mount
from tests.doors.doors import Door, Response
from tests.doors.test_handles import authorization, opened, said, use
from tests.doors.test_modern import modern, post
from tests.settings import TOKENS

pytestmark = [pytest.mark.django_db(transaction=True), on_mount]

AGAIN: Final = "The session store cannot be reached right now. Try again in a moment."
REASON: Final = {"reason": "store_unavailable"}
TOKEN: Final = TOKENS["ann"]
both_libraries = pytest.mark.parametrize("path", ["/server", "/fast"])

EDITS: Final = [
    request("resources/read", {"uri": "basket://emptied"}),
    request("resources/read", {"uri": "basket://emptied/fruit"}),
    request("prompts/get", {"name": "emptied"}),
    request("prompts/get", {"name": "emptied_in_thread"}),
]
TOOLS: Final = [call("emptied"), call("emptied_in_thread")]


@pytest.fixture(autouse=True)
def servers(settings: Any) -> None:
    """Server objects of each library. They serve clients with a token and clients without."""
    repeats._counts.clear()
    authenticators = settings.MCP_SESSIONS["SERVERS"]["/own-baskets"]["AUTHENTICATORS"]
    served = {
        f"/{name}": {"SERVER": f"tests.baskets:{name}", "AUTHENTICATORS": authenticators}
        for name in ("server", "fast", "low")
    }
    served["/deeds"] = settings.MCP_SESSIONS["SERVERS"]["/sdk-deeds"]
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": served}


@pytest.fixture
def door(servers: None, door: Door) -> Door:
    """The door, opened to these servers."""
    return door


@contextmanager
def failing(*methods: str, error: Exception | None = None) -> Iterator[None]:
    """The store's methods raise, as they do while it cannot be reached."""
    error = error or StoreUnavailable("away")
    with ExitStack() as stack:
        for method in methods:
            stack.enter_context(mock.patch.object(get_store(), method, side_effect=error))
        yield


def loud(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of errors; none of the records has a traceback."""
    assert [each for each in caplog.records if each.exc_info] == []
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


async def check_unserved(response: Response, caplog: pytest.LogCaptureFixture) -> None:
    message = await response.json()
    assert (response.status, response.headers.get("retry-after")) == (503, "1"), message
    assert (message["id"], message["error"]["message"]) == (1, AGAIN)
    assert len(loud(caplog)) == 1


@both_libraries
@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreBusy("locked")])
async def test_a_session_is_not_opened_and_the_client_comes_again(
    door: Door, path: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with failing("acreate", error=error):
        await check_unserved(await post(door, modern(call("open_session")), path=path), caplog)
    assert await opened(door, path)


@both_libraries
@pytest.mark.parametrize("tool", ["add", "count"])
async def test_a_tool_whose_handle_cannot_be_read_is_not_called(
    door: Door, path: str, tool: str, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = {"session": await opened(door, path), **({"sku": "a"} if tool == "add" else {})}
    caplog.clear()
    with failing("aload"):
        response = await post(door, modern(call(tool, arguments)), path=path)
    await check_unserved(response, caplog)
    assert not (await use(door, path, tool, **arguments)).get("isError")


@both_libraries
@pytest.mark.parametrize(("tool", "method"), [("list_sessions", "akeys_of"), ("end_session", "aload_by_key")])
async def test_sessions_are_not_listed_or_ended(
    door: Door, path: str, tool: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    await opened(door, path, TOKEN)
    (session,) = (await use(door, path, "list_sessions", TOKEN))["structuredContent"]["sessions"]
    arguments = {"key": session["key"]} if tool == "end_session" else {}
    caplog.clear()
    with failing(method):
        response = await post(door, modern(call(tool, arguments)), path=path, **authorization(TOKEN))
    await check_unserved(response, caplog)


@both_libraries
async def test_the_callers_own_session_cannot_be_read(
    door: Door, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with failing("aload"):
        response = await post(door, modern(call("emptied")), path=path, **authorization(TOKEN))
    await check_unserved(response, caplog)


async def ask(door: Door, path: str, is_modern: bool, message: dict[str, Any]) -> dict[str, Any]:
    if is_modern:
        response = await post(door, modern(message), path=path, **authorization(TOKEN))
        assert response.status in {200, 400}
        return dict(await response.json())
    return await (await McpClient(door, path=path).open()).ask(message)


both_eras = pytest.mark.parametrize("is_modern", [False, True], ids=["session", "modern"])


@both_libraries
@both_eras
@pytest.mark.parametrize("message", TOOLS, ids=str)
async def test_a_tool_that_has_begun_tells_its_client_to_try_again(
    door: Door, path: str, is_modern: bool, message: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with failing("alease"):
        result = (await ask(door, path, is_modern, message))["result"]
    assert result["isError"]
    assert said(result).endswith(AGAIN)
    assert len([line for line in loud(caplog) if "away" in line]) == 1


@both_libraries
@both_eras
@pytest.mark.parametrize("message", EDITS, ids=str)
async def test_resources_and_prompts_tell_their_client_to_try_again(
    door: Door, path: str, is_modern: bool, message: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with failing("alease"):
        error = (await ask(door, path, is_modern, message))["error"]
    assert error == {"code": -32603, "message": AGAIN, "data": REASON}
    assert len([line for line in loud(caplog) if "away" in line]) == 1


@both_libraries
@both_eras
@pytest.mark.parametrize(
    ("error", "words"),
    [(SessionEnded(), "The session has ended."), (SessionBusy("held"), "Another call is changing this")],
)
async def test_a_session_that_ends_or_is_held_while_a_tool_runs_is_no_crash(
    door: Door, path: str, is_modern: bool, error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with failing("alease", error=error):
        answers = [await ask(door, path, is_modern, message) for message in (TOOLS[0], EDITS[0], EDITS[2])]
    assert words in said(answers[0]["result"])
    assert all(words in answer["error"]["message"] for answer in answers[1:])
    assert loud(caplog) == []


@both_eras
@pytest.mark.parametrize(
    ("error", "code", "words"),
    [(StoreUnavailable("away"), -32603, AGAIN), (SessionEnded(), -32600, "The session has ended.")],
)
async def test_handlers_of_a_low_level_server(
    door: Door, is_modern: bool, error: Exception, code: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with failing("alease", error=error):
        answer = await ask(door, "/low", is_modern, EDITS[2])
    assert (answer["error"]["code"], answer["error"]["message"]) == (code, words)
    loud(caplog)


@both_libraries
async def test_a_session_is_not_opened_by_a_handshake(
    door: Door, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with failing("acreate"):
        response = await McpClient(door, path=path).post({**initialize(), "id": 1})
    await check_unserved(response, caplog)


@both_libraries
async def test_a_stream_of_changes_is_not_opened(
    door: Door, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where credentials are read from the store, for instance, or connections are counted there."""
    listen = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    with mock.patch("mcp_sessions.protocol.modern.limit_streams", side_effect=StoreUnavailable("away")):
        await check_unserved(await post(door, modern(listen), path=path), caplog)


async def test_a_call_that_happens_once_has_not_begun(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry, "PAUSES", (0.01,))
    once = modern(call("by_settings", {"order": "of an outage"}))
    with failing("aclaim"):
        response = await post(door, once, path="/deeds", **authorization(TOKEN))
    await check_unserved(response, caplog)


async def test_a_list_that_needs_the_store_is_not_answered(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """FastMCP reads the visibility of tools from its state, which sessions keep."""
    with failing("aload"):
        response = await post(door, modern(request("tools/list")), path="/fast", **authorization(TOKEN))
    await check_unserved(response, caplog)
