"""Tools that use the ORM hold no idle connections, and survive that theirs are broken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from tests.e2e.conftest import StartServer
from tests.harness.running import eventually, run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, answer

STORE_THREADS: Final = 4
# The event loop has one of its own, by which it reads sessions.
STORE_CONNECTIONS: Final = STORE_THREADS + 1
AT_ONCE: Final = 30
# Library, and the name its synchronous tool has there.
LIBRARIES: Final = {"official": "count_sync", "fast": "count_sync", "outer": "inner_count_sync"}


@pytest.fixture(params=LIBRARIES)
def served(
    request: pytest.FixtureRequest, start_server: StartServer, postgres: str
) -> Iterator[tuple[ServerProcess, str]]:
    server = start_server(server=f"tests.e2e.servers.orm:{request.param}", database_url=postgres)
    yield server, LIBRARIES[request.param]
    server.stop()


def connections(database_url: str, *, end: bool = False) -> int:
    """How many connections to the database others hold; `end` breaks them all."""
    column = "pg_terminate_backend(pid)" if end else "pid"
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            f"SELECT {column} FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return len(found.fetchall())


def is_fine(reply: dict[str, Any]) -> bool:
    return "result" in reply and not reply["result"].get("isError")


async def each_way(session: RawSession, tool: str) -> list[dict[str, Any]]:
    """Many synchronous calls at once, and one of each other kind."""
    replies = [session.call(tool) for _ in range(AT_ONCE)]
    if tool == "count_sync":
        asked = [
            session.message("tools/call", {"name": "count_async", "arguments": {}}),
            session.message("resources/read", {"uri": "count://tickets"}),
            session.message("prompts/get", {"name": "ask"}),
        ]
        replies += [post(session, message) for message in asked]
    return await asyncio.gather(*replies)


async def post(session: RawSession, message: dict[str, Any]) -> dict[str, Any]:
    async with session.post(message) as response:
        return await answer(response)


def test_no_connection_is_kept_and_none_stays_broken(
    served: tuple[ServerProcess, str], postgres: str
) -> None:
    server, tool = served

    async def scenario() -> None:
        session = await RawSession.open(server.url)
        assert all(map(is_fine, await each_way(session, tool)))
        # A connection that is closed is gone from the list a moment later.
        await eventually(lambda: connections(postgres) <= STORE_CONNECTIONS)
        assert connections(postgres, end=True) > 0
        # A database that was restarted: every connection that anybody kept is broken.
        again = await each_way(session, tool)
        assert [reply for reply in again if not is_fine(reply)] == []

    run(scenario())
