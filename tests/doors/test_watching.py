"""Who may watch: MAY_WATCH is asked before a client subscribes or listens, in every revision."""

from __future__ import annotations

import logging
from typing import Any, Final

import pytest

from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.protocol.servers import get_server
from mcp_sessions.runtime import run
from mcp_sessions.security.watching import Watched
from tests import watchers
from tests.doors.client import request
from tests.doors.conftest import OpenClient
from tests.doors.doors import Door
from tests.doors.test_handles import authorization
from tests.doors.test_modern import modern, post
from tests.settings import TOKENS
from tests.watchers import asked

pytestmark = pytest.mark.django_db(transaction=True)
REFUSED: Final = {"reason": "watching_refused"}


@pytest.fixture
def may_watch(request: pytest.FixtureRequest, settings: Any) -> None:
    asked.clear()
    named = getattr(request, "param", "tests.watchers.may_watch")
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "MAY_WATCH": named}


def watching_by(*named: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("may_watch", named, indirect=True)


either_form = watching_by("tests.watchers.may_watch", watchers.amay_watch)


@either_form
async def test_a_subscription_is_asked_about(may_watch: None, connect: OpenClient) -> None:
    client = await connect(path="/tokens", more_headers=authorization(TOKENS["ann"]))
    assert (await client.ask(request("resources/subscribe", {"uri": "note://1"})))["result"] == {}
    refused = await client.ask(request("resources/subscribe", {"uri": "secret://1"}))
    assert refused["error"]["data"] == REFUSED
    assert "may not watch" in refused["error"]["message"]
    assert asked == [("ann", "/tokens", Watched((uri,))) for uri in ("note://1", "secret://1")]
    # To leave is free.
    assert (await client.ask(request("resources/unsubscribe", {"uri": "secret://1"})))["result"] == {}


@either_form
@pytest.mark.parametrize("path", ["/own-baskets", "/fast-deeds"])
async def test_listening_is_asked_about(may_watch: None, door: Door, path: str) -> None:
    """Once for all that a request wants; refused is all of it, before a stream begins."""
    ann = authorization(TOKENS["ann"])

    def listen(uri: str) -> dict[str, Any]:
        wanted = {"resourceSubscriptions": [uri], "toolsListChanged": True}
        return modern(request("subscriptions/listen", {"notifications": wanted}, id="l"))

    response = await post(door, listen("note://1"), path=path, **ann)
    assert (await response.next_message())["method"] == "notifications/subscriptions/acknowledged"
    await response.disconnect()
    refused = await (await post(door, listen("secret://1"), path=path, **ann)).json()
    assert (refused["id"], refused["error"]["data"]) == ("l", REFUSED)
    uris = [watched.resources for _, _, watched in asked]
    assert uris == [("note://1",), ("secret://1",)]
    assert {(who, where, watched.lists) for who, where, watched in asked} == {("ann", path, ("tools",))}


@watching_by("tests.watchers.fails", "tests.watchers.forgets")
async def test_a_function_that_fails_permits_nothing(
    may_watch: None, connect: OpenClient, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    client = await connect()
    with caplog.at_level(logging.ERROR, "mcp_sessions.security"):
        refused = await client.ask(request("resources/subscribe", {"uri": "note://1"}))
    assert refused["error"]["data"] == REFUSED
    failed = settings.MCP_SESSIONS["MAY_WATCH"] == "tests.watchers.fails"
    assert [each.levelname for each in caplog.records] == ["ERROR"] * failed
    assert all("MAY_WATCH failed at /mcp" in each.getMessage() for each in caplog.records)


@watching_by("tests.watchers.nothing", "tests.watchers.asked", "nowhere.at_all")
async def test_a_function_that_is_not_there_is_seen_at_the_start(may_watch: None, door: Door) -> None:
    with pytest.raises(ConfigurationError, match="MAY_WATCH"):
        await run(get_server("/mcp"))
