"""Work that a process accepted before it began to stop, and that goes on or begins afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mcp_sessions.delivery import drain, get_hub
from mcp_sessions.protocol import handles
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_store
from tests.doors.client import call
from tests.doors.conftest import OpenClient, on_mount
from tests.doors.doors import Door
from tests.doors.test_modern import modern, post
from tests.process import eventually
from tests.servers import gates

pytestmark = [pytest.mark.django_db(transaction=True), on_mount]


class Held:
    """A function that waits before it does its work, as the store's do while the database is slow."""

    def __init__(self, function: Callable[..., Awaitable[Any]]) -> None:
        self._function = function
        self.is_called = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.is_called.set()
        await self.may_go_on.wait()
        return await self._function(*arguments, **options)


def hold_store(method: str, monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held(getattr(get_store(), method))
    monkeypatch.setattr(get_store(), method, held)
    return held


@pytest.fixture
def no_grace(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running calls are cancelled at once, and requests that wait are not waited for."""
    monkeypatch.setattr(drain, "STOP_SECONDS", 0.01)
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "DRAIN_SECONDS": 0.01}


async def test_a_stream_that_opens_after_the_drain_is_closed(
    no_grace: None, connect: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await connect()
    attach = hold_store("aattach", monkeypatch)
    getting = asyncio.create_task(client.get())
    await attach.is_called.wait()
    await get_hub().drain()
    attach.may_go_on.set()
    response = await getting
    assert response.status == 200
    assert [event.data for event in await response.events() if event.data] == []


async def test_a_call_that_begins_after_the_drain_is_answered(
    no_grace: None, connect: OpenClient, monkeypatch: pytest.MonkeyPatch, gate: str
) -> None:
    client = await connect()
    load = hold_store("aload", monkeypatch)
    posted = client.posting(call("slow", {"gate": gate}, id="late"))
    await load.is_called.wait()
    await get_hub().drain()
    load.may_go_on.set()
    answer = await (await posted).json()
    assert answer["error"]["data"]["reason"] == "worker_lost"
    assert gates[gate].log == []


async def test_a_call_that_begins_during_the_drain_is_finished(
    connect: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was accepted before the process began to stop, and waited for the store."""
    client = await connect()
    load = hold_store("aload", monkeypatch)
    posted = client.posting(call("echo", {"text": "late"}, id="late"))
    await load.is_called.wait()
    draining = asyncio.create_task(get_hub().drain())
    await eventually(lambda: current().draining)
    load.may_go_on.set()
    answer = await (await posted).json()
    assert answer["result"]["content"][0]["text"] == "late"
    await draining


async def test_calls_that_the_drain_ends_are_in_the_log(
    no_grace: None, connect: OpenClient, caplog: pytest.LogCaptureFixture, gate: str
) -> None:
    client = await connect()
    posted = [client.posting(call("slow", {"gate": gate}, id=id)) for id in ("one", "two")]
    await eventually(lambda: len(list(get_hub().calls)) == len(posted))
    with caplog.at_level(logging.WARNING, "mcp_sessions.delivery"):
        await get_hub().drain()
    for each in posted:
        assert (await (await each).json())["error"]["data"]["reason"] == "worker_lost"
    assert (
        "stopping: 2 calls are unfinished after DRAIN_SECONDS (0.01 s), and end with worker_lost"
        in caplog.messages
    )


async def test_a_drain_that_ends_no_call_says_nothing(
    no_grace: None, connect: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    await (await connect()).post(call("echo", {"text": "early"}, id=1))
    await get_hub().drain()
    assert not [message for message in caplog.messages if "unfinished" in message]


async def test_a_running_call_without_a_session_is_told_that_its_worker_stops(
    no_grace: None, door: Door, gate: str
) -> None:
    """In 2026-07-28, too: the process would wait for the call for ever."""
    posted = asyncio.create_task(post(door, modern(call("slow", {"gate": gate}, id=7))))
    await gates[gate].reached()
    assert len(get_hub().calls) == 1
    await get_hub().drain()
    answer = await (await posted).json()
    assert (answer["id"], answer["error"]["data"]["reason"]) == (7, "worker_lost")
    await eventually(lambda: not get_hub().calls)


async def test_a_running_stream_without_a_session_is_told_so_by_its_last_event(
    no_grace: None, door: Door, gate: str
) -> None:
    asked = modern(call("progress", {"steps": 1, "gate": gate}, id=7), progressToken="steps")
    response = await post(door, asked)
    assert (await response.next_message())["params"]["progress"] == 1
    await get_hub().drain()
    (last,) = await response.messages()
    assert (last["id"], last["error"]["data"]["reason"]) == (7, "worker_lost")


async def test_a_call_without_a_session_that_begins_after_the_drain_is_answered(
    no_grace: None, door: Door, monkeypatch: pytest.MonkeyPatch, gate: str
) -> None:
    await post(door, modern(call("echo", {"text": "early"})))
    monkeypatch.setattr(handles, "own_session", held := Held(handles.own_session))
    posted = asyncio.create_task(post(door, modern(call("slow", {"gate": gate}, id=7))))
    await held.is_called.wait()
    await get_hub().drain()
    held.may_go_on.set()
    answer = await (await posted).json()
    assert answer["error"]["data"]["reason"] == "worker_lost"
    assert gates[gate].log == []
