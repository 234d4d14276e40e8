"""The three official clients behind an address that hands each of their requests to the next worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.workers.conftest import Workers
from tests.e2e.workers.front import Front
from tests.e2e.workers.gates import Gates
from tests.harness.clients import REPLY, ROOTS, AnyClient, ClientKind, open_client
from tests.harness.node import Node
from tests.harness.running import eventually, run
from tests.harness.server import ServerProcess

GetNode = Callable[[], Node]

# How workers hear of each other does not depend on the client, so each client has one way of theirs.
each_on_one = pytest.mark.parametrize(
    ("backing", "kind"),
    [("postgresql", "python"), ("postgresql+redis", "typescript"), ("redis", "fastmcp")],
    indirect=["backing"],
)


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
        for n in range(6):
            await client.call("add", {"item": f"{n}"})
        found = await client.call("basket")
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
def test_a_client_hears_of_progress_and_logs(
    kind: ClientKind, workers: Workers, gates: Gates, node: GetNode
) -> None:
    async def scenario(client: AnyClient) -> None:
        gate = gates.new()
        gates.open(gate)
        assert (await client.call("count", {"n": 50, "gate": gate})).text.startswith("done by")
        assert client.heard.progress == list(range(1, 51))
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
