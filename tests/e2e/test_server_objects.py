"""Server objects of each kind, served unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import StartServer
from tests.e2e.servers.lifespans import VARIABLE
from tests.harness.clients import ROOTS, ClientKind, open_client
from tests.harness.node import Node
from tests.harness.running import eventually, run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, answer

OBJECTS: Final = {"FastMCP": "tests.e2e.servers.fast:server", "low-level": "tests.e2e.servers.low:server"}
# What an object does is the same behind each server, and so is when its lifespan is entered and left.
SERVED: Final = [("FastMCP", "uvicorn"), ("low-level", "daphne")]
# At a heartbeat every stream is looked after, and what was forgotten before is delivered then. Not here.
NO_HEARTBEATS: Final = {"HEARTBEAT_SECONDS": 3600}
MANY_DEADLINE: Final = 240.0
GetNode = Callable[[], Node]


@dataclass(frozen=True)
class Served:
    server: ServerProcess
    lifespan_file: Path

    def lifespans(self) -> list[str]:
        return self.lifespan_file.read_text().splitlines() if self.lifespan_file.exists() else []


@pytest.fixture(scope="module", params=SERVED, ids="-".join)
def served(
    request: pytest.FixtureRequest, start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    name, kind = request.param
    file = tmp_path_factory.mktemp("lifespans") / "noted"
    env = {VARIABLE: str(file), "E2E_MCP_SESSIONS": json.dumps(NO_HEARTBEATS)}
    return Served(start_server(kind=kind, server=OBJECTS[name], env=env), file)


@pytest.mark.parametrize("kind", ["python", "fastmcp", "typescript"])
def test_its_tools_do_what_tools_can(kind: ClientKind, served: Served, node: GetNode) -> None:
    async def scenario() -> None:
        async with open_client(kind, served.server.url, node, answer={"name": "Ada"}) as client:
            assert await client.tools() == ["add", "greet", "count", "roots"]
            assert (await client.call("add", {"a": 2, "b": 3})).text == "5"
            assert (await client.call("count", {"n": 3})).text == "counted to 3"
            assert client.heard.progress == [1, 2, 3]
            assert (await client.call("greet")).text == "Hello, Ada"
            assert client.heard.elicited == ["What is your name?"]
            assert json.loads((await client.call("roots")).text) == list(ROOTS)

    run(scenario())


def test_its_lifespan_is_entered_once_in_a_process(served: Served) -> None:
    async def scenario() -> None:
        for _ in range(3):
            session = await RawSession.open(served.server.url)
            answered = await session.call("add", {"a": 1, "b": 1})
            assert answered["result"]["content"][0]["text"] == "2"

    run(scenario())
    assert served.lifespans() == [f"entered {served.server.pid}"]


@pytest.mark.parametrize("served", SERVED[:1], indirect=True, ids="-".join)
def test_what_is_stored_is_delivered_at_once(served: Served) -> None:
    """Also when it is stored in the very moment in which its reader looks whether there is anything."""

    async def scenario() -> None:
        session = await RawSession.open(served.server.url)
        for _ in range(200):
            async with session.post(session.tool_call("count", {"n": 3}, token="token")) as response:
                assert "result" in await answer(response)

    run(scenario(), MANY_DEADLINE)


def test_its_lifespan_is_left_when_the_process_stops(served: Served) -> None:
    async def scenario() -> None:
        await RawSession.open(served.server.url)
        await eventually(lambda: bool(served.lifespans()))

    run(scenario())
    pid = served.server.pid
    served.server.stop()
    assert served.lifespans() == [f"entered {pid}", f"left {pid}"]
    # Of tests that run in several processes no one is the last.
    served.server.start()
