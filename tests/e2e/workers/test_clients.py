"""The official clients behind an address that hands each of their requests to the next worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.test_clients import own_session
from tests.e2e.workers.conftest import Workers
from tests.e2e.workers.front import Front
from tests.e2e.workers.gates import Gates
from tests.harness.clients import REPLY, ROOTS, AnyClient, ClientKind, open_client
from tests.harness.inspecting import Inspector
from tests.harness.node import Node
from tests.harness.running import eventually, run
from tests.harness.server import ServerProcess

GetNode = Callable[[], Node]

HANDSHAKE: Final = [
    *(("postgresql", "python"), ("postgresql+redis", "typescript"), ("redis", "fastmcp")),
    *(("postgresql+redis", "python1"), ("postgresql+redis", "typescript2-default")),
    ("postgresql+redis", "typescript-sse"),
]
MODERN: Final = [
    *(("postgresql", "python-default"), ("redis", "fastmcp-default")),
    ("postgresql+redis", "typescript2-auto"),
]
# How workers hear of each other does not depend on the client, so each client has one way of theirs.
each_on_one = pytest.mark.parametrize(("backing", "kind"), HANDSHAKE + MODERN, indirect=["backing"])
by_handshake = pytest.mark.parametrize(("backing", "kind"), HANDSHAKE, indirect=["backing"])


def behind(
    workers: tuple[ServerProcess, ...], kind: ClientKind, node: GetNode, scenario: Callable[[AnyClient], Any]
) -> None:
    async def main() -> None:
        front = Front(workers)
        async with front.running():
            async with open_client(kind, front.url, node, {"name": "Ada"}) as client:
                await scenario(client)
                assert not client.heard.errors
            assert all(front.requests.values()), "One worker served it alone."

    run(main())


@each_on_one
def test_a_session_of_many_calls(kind: ClientKind, workers: Workers, node: GetNode) -> None:
    async def scenario(client: AnyClient) -> None:
        assert "echo" in await client.tools()
        own = await own_session(client)
        for n in range(6):
            await client.call("add", {"item": f"{n}", **own})
        found = await client.call("basket", own)
        assert found.structured == {"result": [f"{n}" for n in range(6)]}

    behind(workers, kind, node, scenario)


@each_on_one
def test_a_client_is_asked_and_answers(kind: ClientKind, workers: Workers, node: GetNode) -> None:
    async def scenario(client: AnyClient) -> None:
        for n in range(4):
            told = json.loads((await client.call("ask", {"question": f"Who {n}?"})).text)
            assert told == {"question": f"Who {n}?", "action": "accept", "content": {"name": "Ada"}}
        assert (await client.call("sample", {"prompt": "What?"})).text == REPLY
        assert json.loads((await client.call("roots")).text) == list(ROOTS)

    behind(workers, kind, node, scenario)


@each_on_one
def test_a_client_hears_of_progress(kind: ClientKind, workers: Workers, gates: Gates, node: GetNode) -> None:
    async def scenario(client: AnyClient) -> None:
        # Over HTTP+SSE this client forgets reports that come in one piece with the result.
        reports = 1 if kind == "typescript-sse" else 50
        gate = gates.new()
        call = asyncio.create_task(client.call("count", {"n": reports, "gate": gate}))
        await eventually(lambda: client.heard.progress == [1])
        gates.open(gate)
        assert (await call).text.startswith("done by")
        assert client.heard.progress == list(range(1, reports + 1))

    behind(workers, kind, node, scenario)


@by_handshake
def test_a_client_hears_of_logs(kind: ClientKind, workers: Workers, node: GetNode) -> None:
    async def scenario(client: AnyClient) -> None:
        texts = [f"{n}" for n in range(4)]
        for text in texts:
            await client.call("say", {"texts": [text]})
        await eventually(lambda: len(client.heard.logs) == len(texts))
        assert client.heard.logs == texts

    behind(workers, kind, node, scenario)


@each_on_one
def test_questions_at_once_are_each_answered(kind: ClientKind, workers: Workers, node: GetNode) -> None:
    async def scenario(client: AnyClient) -> None:
        asked = [f"Who {n}?" for n in range(8)]
        answers = await asyncio.gather(*(client.call("ask", {"question": question}) for question in asked))
        assert [json.loads(answer.text)["question"] for answer in answers] == asked
        assert sorted(client.heard.elicited) == asked

    behind(workers, kind, node, scenario)


def test_the_inspector_finds_its_state_at_either_worker(
    workers: Workers, inspector: Node, tmp_path: Path
) -> None:
    a, b = workers
    client = Inspector(inspector, tmp_path, ("--protocol-era", "modern"))
    own = {"session": client.call(a.url, "open_session")["structuredContent"]["session"]}
    for item, worker in (("1", b), ("2", a)):
        client.call(worker.url, "add", {"item": item, **own})
    assert client.call(b.url, "basket", own)["structuredContent"] == {"result": ["1", "2"]}
