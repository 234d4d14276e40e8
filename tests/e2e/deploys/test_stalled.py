"""Clients that read nothing: their connections are cut when there is nothing more to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from tests.e2e.deploys.conftest import PATIENT, StartCluster
from tests.harness.running import run
from tests.harness.server import Kind, ServerProcess
from tests.harness.wire import RawSession

MEGABYTE: Final = 2**20
MORE_THAN_SOCKETS_TAKE: Final = 10
"""Megabytes: on one machine the kernel takes some, and what it has counts as read by the client."""
CUT: Final = "is cut: its client took nothing"
HURRIED: Final = "tests.e2e.servers.hurried:application"
# Whoever waits as long as this is not cut, and fails at the deadline.
ENDLESS: Final = 600


@asynccontextmanager
async def stalled(session: RawSession) -> AsyncIterator[None]:
    """A GET stream that is sent more than fits on its way, and that nobody reads."""
    async with session.get() as response:
        response.narrow(4096)
        for _ in range(MORE_THAN_SOCKETS_TAKE):
            await session.call("say", {"texts": ["x" * MEGABYTE]})
        yield
        response.cut()


async def is_cut(server: ServerProcess, times: int) -> None:
    async with asyncio.timeout(60):
        while server.log().count(CUT) < times:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(("kind", "parser"), [("uvicorn", "httptools"), ("uvicorn", "h11"), ("daphne", "")])
def test_who_takes_nothing_holds_up_neither_a_delete_nor_a_stop(
    kind: Kind, parser: str, start_cluster: StartCluster
) -> None:
    options = {**PATIENT, "DRAIN_SECONDS": ENDLESS, "STALL_SECONDS": ENDLESS}
    env = {"UVICORN_HTTP": parser} if parser else {}
    server = start_cluster(1, kind=kind, options=options, env=env, application=HURRIED)[0]

    async def scenario() -> None:
        deleted, stopped = await RawSession.open(server.url), await RawSession.open(server.url)
        async with stalled(deleted), stalled(stopped):
            assert await deleted.delete() == 204
            await is_cut(server, 1)
            await asyncio.to_thread(server.stop)
            await is_cut(server, 2)

    run(scenario())
