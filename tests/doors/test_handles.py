"""Tools that take sessions: the protocol's in revisions with a handshake, handles in 2026-07-28."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta
from typing import Any, Final

import pytest
from django.utils import timezone

from mcp_sessions.delivery import get_hub
from mcp_sessions.logs.repeats import repeats
from mcp_sessions.models import Session
from tests.doors.client import McpClient, call, request, text_of
from tests.doors.conftest import OpenClient
from tests.doors.doors import Door
from tests.doors.test_modern import modern, post
from tests.process import eventually, only_session, rows
from tests.servers import DEADLINE, Gate, gates
from tests.settings import TOKENS

PATHS = ("/baskets", "/fast-baskets")
one_door = pytest.mark.parametrize("door", ["view"], indirect=True)
pytestmark = [pytest.mark.django_db(transaction=True), one_door]


def authorization(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


async def use(door: Door, path: str, tool: str, token: str | None = None, **arguments: Any) -> dict[str, Any]:
    """Call a tool as a client of 2026-07-28; its result."""
    response = await post(door, modern(call(tool, arguments)), path=path, **authorization(token))
    message = await response.json()
    assert response.status == 200, message
    return dict(message["result"])


async def opened(door: Door, path: str, token: str | None = None) -> str:
    result = await use(door, path, "open_session", token)
    assert not result.get("isError"), result
    return str(result["structuredContent"]["session"])


def said(result: dict[str, Any]) -> str:
    return str(result["content"][0]["text"])


async def listed(door: Door, path: str, token: str | None = None) -> dict[str, dict[str, Any]]:
    response = await post(door, modern(request("tools/list")), path=path, **authorization(token))
    return {tool["name"]: tool for tool in (await response.json())["result"]["tools"]}


@pytest.mark.parametrize("path", PATHS)
async def test_with_a_handshake_the_session_is_the_protocols_and_no_argument(
    connect: OpenClient, path: str
) -> None:
    client = await connect(path=path)
    tools = (await client.ask(request("tools/list")))["result"]["tools"]
    assert not {"open_session", "end_session"} & {tool["name"] for tool in tools}
    [schema] = [tool["inputSchema"] for tool in tools if tool["name"] == "add"]
    assert (list(schema["properties"]), schema["required"]) == (["sku"], ["sku"])
    await client.call("add", {"sku": "a"})
    # Whatever a client names, its session is the one that it has.
    await client.call("add", {"sku": "b", "session": "x"})
    assert await client.call("count") == "2"
    assert json.loads((await only_session()).data) == {"basket": ["a", "b"]}


@pytest.mark.parametrize("path", PATHS)
async def test_an_anonymous_client_opens_a_session_and_names_it(door: Door, path: str) -> None:
    tools = await listed(door, path)
    schema = tools["add"]["inputSchema"]
    assert set(schema["required"]) == {"sku", "session"}
    assert "open_session" in schema["properties"]["session"]["description"]
    assert tools["count"]["inputSchema"]["properties"]["session"]["description"] == "Whose basket"
    first, second = await opened(door, path), await opened(door, path)
    await use(door, path, "add", sku="a", session=first)
    await use(door, path, "add", sku="b", session=first)
    assert said(await use(door, path, "count", session=first)) == "2"
    assert said(await use(door, path, "count", session=second)) == "0"


@pytest.mark.parametrize("path", PATHS)
async def test_a_call_without_a_usable_handle_tells_the_model_what_to_do(door: Door, path: str) -> None:
    missing = await use(door, path, "add", sku="a")
    assert missing["isError"] and "open_session" in said(missing) and "'session'" in said(missing)
    handle = await opened(door, path)
    ended = await use(door, path, "end_session", session=handle)
    assert not ended.get("isError")
    for unusable in (handle, handle[::-1], "", "x" * 5000, "\u2028"):
        result = await use(door, path, "add", sku="a", session=unusable)
        assert result["isError"] and "open_session" in said(result), unusable
    again = await use(door, path, "end_session", session=handle)
    assert again["isError"]


async def test_a_handle_is_its_principals_alone(door: Door) -> None:
    path = "/own-baskets"
    anns = await opened(door, path, TOKENS["ann"])
    nobodys = await opened(door, path)
    made_up = await use(door, path, "add", TOKENS["ben"], sku="a", session=anns[::-1])
    for token, handle in ((TOKENS["ben"], anns), (None, anns), (TOKENS["ann"], nobodys)):
        assert await use(door, path, "add", token, sku="a", session=handle) == made_up
        assert await use(door, path, "end_session", token, session=handle) == {
            **made_up,
            "content": [{"type": "text", "text": said(made_up).removeprefix("Error executing tool add: ")}],
        }
    assert said(await use(door, path, "count", TOKENS["ann"], session=anns)) == "0"


async def test_a_principal_lists_its_sessions_and_ends_them_by_key(door: Door) -> None:
    """Those that it has opened, and nobody else's; never a handle."""
    path, ann = "/own-baskets", TOKENS["ann"]
    await opened(door, path, TOKENS["ben"])
    nobodys = await opened(door, path)
    await use(door, path, "own", ann, sku="a")  # in the session that she has without a handle
    first = await opened(door, path, ann)
    labelled = await use(door, path, "open_session", ann, label="For the party")
    second = labelled["structuredContent"]["session"]
    listed = await use(door, path, "list_sessions", ann)
    sessions = {each["label"]: each for each in listed["structuredContent"]["sessions"]}
    assert set(sessions) == {"", "For the party"}
    party = sessions["For the party"]
    assert party.keys() == {"key", "label", "created_at", "last_used_at", "expires_at"}
    assert party["created_at"] <= party["last_used_at"] < party["expires_at"]
    assert not any(handle in json.dumps(listed) for handle in (first, second, nobodys))

    others = await use(door, path, "end_session", TOKENS["ben"], key=party["key"])
    assert others["isError"] and "open_session" in said(others)
    for handle in (party["key"], first):
        # A key opens nothing, and neither is one in place of the other.
        assert (await use(door, path, "count", ann, session=party["key"]))["isError"]
        assert (await use(door, path, "end_session", ann, key=handle)).get("isError", False) is (
            handle == first
        )
    assert (await use(door, path, "count", ann, session=second))["isError"]
    assert (await use(door, path, "end_session", ann, key=party["key"]))["isError"]
    left = await use(door, path, "list_sessions", ann)
    assert [each["key"] for each in left["structuredContent"]["sessions"]] == [sessions[""]["key"]]


async def test_a_session_that_is_not_opened_by_a_handle_is_not_ended_by_its_key(door: Door) -> None:
    ann = TOKENS["ann"]
    await use(door, "/own-baskets", "own", ann, sku="a")
    key = (await only_session()).key
    assert (await use(door, "/own-baskets", "end_session", ann, key=key))["isError"]
    assert (await only_session()).ended_at is None


async def test_an_anonymous_client_lists_nothing(door: Door) -> None:
    """Sessions of an address are many people's. Who has no handle has no session."""
    path = "/own-baskets"
    handle = await opened(door, path)
    tools, anns = await listed(door, path), await listed(door, path, TOKENS["ann"])
    assert {"open_session", "end_session"} <= tools.keys() and "list_sessions" not in tools
    assert "key" not in tools["end_session"]["inputSchema"]["properties"]
    assert "list_sessions" in anns and "key" in anns["end_session"]["inputSchema"]["properties"]
    assert (await use(door, path, "list_sessions"))["isError"]
    key = (await only_session()).key
    assert (await use(door, path, "end_session", key=key))["isError"]
    assert not (await use(door, path, "end_session", session=handle)).get("isError")


async def test_a_handle_is_bound_as_a_session_id_is(door: Door, settings: Any) -> None:
    """SESSION_BINDING: whoever has read the handle in a transcript does not come from where it was opened."""
    binding = {"SESSION_BINDING": {"user_agent": "reject"}}
    await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", {**settings.MCP_SESSIONS, **binding})
    handle = await opened(door, "/baskets")
    made_up = await use(door, "/baskets", "count", session=handle[::-1])
    for tool in ("count", "end_session"):
        response = await post(
            door, modern(call(tool, {"session": handle})), path="/baskets", User_Agent="another"
        )
        assert said((await response.json())["result"]) in said(made_up)
    assert said(await use(door, "/baskets", "count", session=handle)) == "0"


async def test_a_principals_own_session_is_bound_to_no_device(door: Door, settings: Any) -> None:
    binding = {"SESSION_BINDING": {"user_agent": "reject", "address": "reject"}}
    await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", {**settings.MCP_SESSIONS, **binding})
    told = authorization(TOKENS["ann"])
    for sku, agent, found in (("a", "desktop", "a"), ("b", "phone", "a b")):
        message = modern(call("own", {"sku": sku}))
        response = await post(door, message, path="/own-baskets", User_Agent=agent, **told)
        assert said((await response.json())["result"]) == found


async def test_who_tries_anothers_handle_is_in_the_security_log(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mcp_sessions.sessions")
    anns = await opened(door, "/own-baskets", TOKENS["ann"])
    await use(door, "/own-baskets", "count", TOKENS["ben"], session=anns)
    found: list[Any] = [each for each in caplog.records if getattr(each, "mcp_event", "") == "refused"]
    assert [each.mcp_reason for each in found] == ["owner"]
    assert "ann" in (await Session.objects.aget(key=found[0].mcp_session)).owner
    assert anns not in caplog.text


async def test_a_handle_is_no_session_id_and_a_session_id_no_handle(door: Door, connect: OpenClient) -> None:
    handle = await opened(door, "/baskets")
    client = McpClient(door, path="/baskets", session_id=handle)
    assert (await client.post(request("ping"))).status == 404
    client = await connect(path="/baskets")
    assert (await use(door, "/baskets", "add", sku="a", session=str(client.session_id)))["isError"]


async def test_an_authenticated_client_has_a_session_without_a_handle(door: Door) -> None:
    path = "/own-baskets"
    assert (await listed(door, path, TOKENS["ann"]))["add"]["inputSchema"]["required"] == ["sku"]
    await use(door, path, "add", TOKENS["ann"], sku="a")
    assert said(await use(door, path, "own", TOKENS["ann"], sku="b")) == "a b"
    assert said(await use(door, path, "count", TOKENS["ben"])) == "0"
    anonymous = await use(door, path, "own", sku="c")
    assert anonymous["isError"]


async def test_when_a_principals_own_session_has_ended_another_begins(door: Door) -> None:
    path = "/own-baskets"
    await use(door, path, "add", TOKENS["ann"], sku="a")
    await Session.objects.all().aupdate(expires_at=timezone.now() - timedelta(seconds=1))
    assert said(await use(door, path, "own", TOKENS["ann"], sku="b")) == "b"
    assert json.loads((await only_session()).data) == {"basket": ["b"]}


async def test_an_anonymous_session_ends_however_much_it_is_used(door: Door) -> None:
    handle = await opened(door, "/baskets")
    await use(door, "/baskets", "add", sku="a", session=handle)
    await Session.objects.all().aupdate(created_at=timezone.now() - timedelta(hours=25))
    assert (await use(door, "/baskets", "count", session=handle))["isError"]
    assert (await only_session()).end_reason == "expired"


async def test_a_handle_is_stored_nowhere(door: Door) -> None:
    handle = await opened(door, "/baskets")
    row = await Session.objects.values().aget()
    assert handle not in json.dumps(row, default=str)
    assert text_of({"result": await use(door, "/baskets", "count", session=handle)}) == "0"


async def test_calls_with_a_handle_are_limited(
    door: Door, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"RATE_LIMITS": {"session": "1/h, burst 2"}}
    await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", {**settings.MCP_SESSIONS, **limits})
    for path in PATHS:
        handle, another = await opened(door, path), await opened(door, path)
        for sku in ("a", "b"):
            assert not (await use(door, path, "add", sku=sku, session=handle)).get("isError")
        caplog.clear()
        refused = await use(door, path, "add", sku="c", session=handle)
        assert refused["isError"] and "Too many requests (session). Try again in" in said(refused)
        assert refusals_in(caplog) == ["rate_limit"]
        assert said(await use(door, path, "count", session=another)) == "0"


def refusals_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    found: list[Any] = [each for each in caplog.records if getattr(each, "mcp_event", "") == "refused"]
    return [each.mcp_reason for each in found]


async def test_a_handle_runs_so_many_calls(
    door: Door, gate: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bound = {"MAX_CALLS_PER_SESSION": 1}
    await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", {**settings.MCP_SESSIONS, **bound})
    handle, another = await opened(door, "/baskets"), await opened(door, "/baskets")
    running = asyncio.create_task(use(door, "/baskets", "hold", gate=gate, session=handle))
    await gates[gate].reached()
    for tool in ("add", "count"):
        refused = await use(door, "/baskets", tool, sku="a", session=handle)
        assert refused["isError"] and "At most 1 requests of a session" in said(refused)
    assert refusals_in(caplog) == ["call_limit"]
    assert said(await use(door, "/baskets", "count", session=another)) == "0"
    gates[gate].open()
    assert said(await running) == "held"
    # A call is over a moment after it was answered.
    async with asyncio.timeout(DEADLINE):
        while (await use(door, "/baskets", "count", session=handle)).get("isError"):
            pass


async def test_a_principal_runs_so_many_calls_without_a_handle(
    door: Door, gate: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bound = {"MAX_CALLS_PER_SESSION": 1}
    await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", {**settings.MCP_SESSIONS, **bound})
    path, ann = "/own-baskets", TOKENS["ann"]
    handle = await opened(door, path, ann)
    running = asyncio.create_task(use(door, path, "hold", ann, gate=gate))
    await gates[gate].reached()
    response = await post(door, modern(call("count", id=3)), path=path, **authorization(ann))
    message = await response.json()
    assert (response.status, message["id"], message["error"]["data"]["reason"]) == (429, 3, "call_limit")
    assert int(response.headers["retry-after"]) > 0
    assert refusals_in(caplog) == ["call_limit"]
    assert said(await use(door, path, "count", TOKENS["ben"])) == "0"
    gates[gate].open()
    await running
    await eventually(lambda: not get_hub().calls._due)
    # What names a handle counts for that, and leaves room for another.
    gates[gate] = Gate()
    running = asyncio.create_task(use(door, path, "hold", ann, gate=gate, session=handle))
    await gates[gate].reached()
    assert said(await use(door, path, "count", ann)) == "0"
    gates[gate].open()
    await running


async def test_opening_handles_is_limited(door: Door, settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "RATE_LIMITS": {"opening": "1/h"}}
    await opened(door, "/baskets")
    result = await use(door, "/baskets", "open_session")
    assert result["isError"] and said(result).startswith("Too many requests (opening).")
    assert (await rows())["Session"] == 1


async def test_without_room_for_a_session_tools_that_need_none_are_served(door: Door, settings: Any) -> None:
    full = {"MAX_SESSIONS": 1, "SESSION_REPLACEMENT_POLICY": "reject"}
    await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", {**settings.MCP_SESSIONS, **full})
    await opened(door, "/own-baskets")
    assert said(await use(door, "/own-baskets", "weigh", TOKENS["ann"], grams=3)) == "3 g"
    needing = await use(door, "/own-baskets", "count", TOKENS["ann"])
    assert needing["isError"] and "open_session" in said(needing)
    told = await use(door, "/own-baskets", "open_session", TOKENS["ann"])
    assert told["isError"] and "as many sessions as it can keep" in said(told)


async def test_without_a_session_the_client_and_the_author_are_told_and_nobody_gets_a_traceback(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    repeats._counts.clear()
    refused = [await use(door, "/own-baskets", "own", sku="c") for _ in range(3)]
    assert all(
        each["isError"] and "Authenticate, or open a session by initialize" in said(each) for each in refused
    )
    told = [each for each in caplog.records if "session: Session" in each.getMessage()]
    assert len(told) == 1
    assert not [each for each in caplog.records if each.exc_info]


@pytest.mark.parametrize("path", PATHS)
async def test_a_list_that_depends_on_the_principal_is_private(door: Door, path: str) -> None:
    """Whatever its author says of lists: the schemas of tools with sessions follow the principal."""
    result = (await (await post(door, modern(request("tools/list")), path=path)).json())["result"]
    assert (result["cacheScope"], result["ttlMs"]) == ("private", 60_000)


NEEDING_A_SESSION: Final = {
    **{
        name: request("resources/read", {"uri": f"basket://{name}"})
        for name in ("own", "own-in-thread", "part/basket")
    },
    **{name: request("prompts/get", {"name": name}) for name in ("own_basket", "own_basket_in_thread")},
    "own_part": request("prompts/get", {"name": "own_part", "arguments": {"name": "basket"}}),
}


@pytest.mark.parametrize("name", NEEDING_A_SESSION)
@pytest.mark.parametrize("path", PATHS)
async def test_without_a_session_resources_and_prompts_say_what_to_do(
    door: Door, path: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    repeats._counts.clear()
    asked = NEEDING_A_SESSION[name]
    response = await post(door, modern(asked), path=path)
    error = (await response.json())["error"]
    assert error["code"] == -32602
    assert "Authenticate, or open a session by initialize" in error["message"]
    assert [each for each in caplog.records if "leave 2026-07-28 out of REVISIONS" in each.getMessage()]
    assert not [each for each in caplog.records if each.exc_info]
    authorized = authorization(TOKENS["ann"])
    served = await (await post(door, modern(asked), path="/own-baskets", **authorized)).json()
    assert "nothing" in json.dumps(served["result"])


@pytest.mark.parametrize("path", PATHS)
async def test_what_a_session_cannot_keep_is_the_clients_to_mend(
    door: Door, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    handle = await opened(door, path)
    for _ in range(2):
        result = await use(door, path, "add", sku="a\0", session=handle)
        assert result["isError"] and "cannot be kept in a session. The data has a NUL" in said(result)
    assert not [each for each in caplog.records if each.exc_info]
    assert said(await use(door, path, "count", session=handle)) == "0"


async def test_operators_see_who_opened_a_session_and_in_which_revision(door: Door) -> None:
    await use(door, "/own-baskets", "own", TOKENS["ann"], sku="a")
    await opened(door, "/own-baskets")
    found = [each.metadata async for each in Session.objects.all()]
    assert [(each["protocol_version"], each["client"]["name"]) for each in found] == [
        ("2026-07-28", "doors")
    ] * 2


@pytest.mark.parametrize("name", ["x" * 70_000, "a\0", 7, None])
async def test_a_client_that_cannot_be_kept_is_served_and_not_named(door: Door, name: Any) -> None:
    info = {"io.modelcontextprotocol/clientInfo": {"name": name, "version": "1"}}
    response = await post(
        door, modern(call("own", {"sku": "a"}), **info), path="/own-baskets", **authorization(TOKENS["ann"])
    )
    assert response.status < 500
