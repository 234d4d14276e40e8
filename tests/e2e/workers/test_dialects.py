"""Clients to whom everything comes on a stream of their own, which another worker has."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

from mcp.client import Client
from mcp.client.sse import sse_client
from mcp_types import TextContent

from tests.e2e.test_guide_dialect import GuideStream, guide_session, tool_call
from tests.e2e.workers.conftest import Workers
from tests.e2e.workers.front import Front
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import guide_stream, next_message, text_of
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.wire import request

ACCEPTED: Final = {"action": "accept", "content": {"name": "Ada"}}


def initialize(version: str) -> dict[str, Any]:
    params = {
        "protocolVersion": version,
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}


async def posted(guide: GuideStream, message: dict[str, Any], status: int = 200) -> Any:
    async with guide.post(message) as response:
        body = await response.body()
        assert response.status == status, (response.status, body)
        return json.loads(body) if body else None


# -- the guide's: JSON in the body, whatever the tool sends before it ---------------------------


def test_what_a_tool_sends_comes_on_the_stream_of_the_other_worker(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        here, there = workers
        async with guide_session(here) as guide:
            names = [gates.new() for _ in range(2)]
            call = tool_call("steps", {"gates": names}, token="t")
            running = asyncio.create_task(posted(replace(guide, url=there.url), call))
            for name in names:
                assert (await next_message(guide.response)).json()["params"]["message"] == name
                gates.open(name)
            assert text_of(await running) == f"done by {there.pid}"

    run(scenario())


def test_a_question_comes_on_the_stream_of_the_other_worker(workers: Workers) -> None:
    async def scenario() -> None:
        here = workers[0]
        async with guide_session(here) as guide:
            await posted(guide, initialize("2025-11-25"))
            for asking, answering in (workers, workers[::-1]):
                call = tool_call("ask", {"question": "Who?"})
                running = asyncio.create_task(posted(replace(guide, url=asking.url), call))
                asked = (await next_message(guide.response)).json()
                assert asked["method"] == "elicitation/create"
                reply = {"jsonrpc": "2.0", "id": asked["id"], "result": ACCEPTED}
                await posted(replace(guide, url=answering.url), reply, 202)
                assert json.loads(text_of(await running))["content"] == {"name": "Ada"}

    run(scenario())


def test_a_message_comes_on_one_of_the_guides_streams(workers: Workers) -> None:
    """Named events come on every stream, JSON-RPC messages on the newest alone."""

    async def scenario() -> None:
        here, there = workers
        async with guide_session(here) as guide, AsyncExitStack() as stack:
            newest = await stack.enter_async_context(guide_stream(guide, there))
            await guide.call("say", {"texts": ["one"]})
            await replace(guide, url=there.url).call("say", {"texts": ["two"]})
            await guide.call("announce", {"event": "note", "text": "last"})
            events = [[each async for each in until_note(stream)] for stream in (guide.response, newest)]
            assert events == [[], ["one", "two"]]

    async def until_note(response: Any) -> Any:
        async for event in response.events():
            if event.event == "note":
                return
            if event.is_message:
                yield event.json()["params"]["data"]

    run(scenario())


# -- 2024-11-05: POSTs are answered 202, and everything comes on the stream ---------------------


async def posted_to_endpoint(guide: GuideStream, worker: ServerProcess, message: dict[str, Any]) -> None:
    url = f"{worker.url}?sse_session={guide.session_id}"
    headers = {"Content-Type": "application/json"}
    async with request("POST", url, headers, json.dumps(message).encode()) as response:
        assert (response.status, await response.body()) == (202, b"")


def test_answers_of_2024_11_05_come_on_the_stream_of_the_other_worker(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        async with guide_session(here) as guide:
            await posted_to_endpoint(guide, there, initialize("2024-11-05"))
            told = (await next_message(guide.response)).json()
            assert (told["id"], told["result"]["protocolVersion"]) == (0, "2024-11-05")
            await posted_to_endpoint(guide, here, tool_call("ask", {"question": "Who?"}))
            asked = (await next_message(guide.response)).json()
            reply = {"jsonrpc": "2.0", "id": asked["id"], "result": ACCEPTED}
            await posted_to_endpoint(guide, there, reply)
            told = (await next_message(guide.response)).json()
            assert json.loads(text_of(told))["content"] == {"name": "Ada"}

    run(scenario())


def test_the_official_client_of_2024_11_05(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        heard: list[float] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            heard.append(progress)

        gate = gates.new()
        gates.open(gate)
        front = Front(workers)
        async with front.running(), Client(sse_client(front.url), mode="legacy") as client:
            for n in range(6):
                await client.call_tool("add", {"item": f"{n}"})
            counted = await client.call_tool("count", {"n": 5, "gate": gate}, progress_callback=on_progress)
            content = counted.content[0]
            assert isinstance(content, TextContent) and content.text.startswith("done by")
            assert heard == [1, 2, 3, 4, 5]
            found = await client.call_tool("basket", {})
            assert found.structured_content == {"result": [f"{n}" for n in range(6)]}
        assert all(front.requests.values())

    run(scenario())
