"""The workers' tools, and some that look into the store, which no other process may be able to do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from django.utils import timezone
from mcp.server.mcpserver import MCPServer

from mcp_sessions.lifecycle.inspection import is_connected
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores import get_store
from tests.e2e.servers.workers import server as workers
from tests.e2e.workers.gates import Gates

server: Final[MCPServer[Any]] = workers
ALL: Final = 10_000


async def live(endpoint: str) -> Sequence[SessionRecord]:
    return await get_store().alive_sessions(endpoint, timezone.now(), "", ALL)


@server.tool()
async def watch_live(endpoint: str, gate: str) -> dict[str, int]:
    """How many sessions lived there at most, and in the end; look again and again until the gate opens."""
    most = looks = 0
    gates = Gates.of_process()
    gates.note(gate, "started")
    while not (gates.folder / gate).exists():
        most, looks = max(most, len(await live(endpoint))), looks + 1
        await asyncio.sleep(0)
    # A busy machine may have run all of them between two looks.
    last = len(await live(endpoint))
    return {"most": max(most, last), "looks": looks, "last": last}


@server.tool()
async def requests_of(key: str) -> int:
    """How many requests of a session are in the store."""
    session = await get_store().aload_by_key(key)
    return -1 if session is None else session.requests


@server.tool()
async def is_live(key: str) -> bool:
    """Whether a session lives; asked in another one, so that it is not used by that."""
    session = await get_store().aload_by_key(key)
    return session is not None and session.is_live(timezone.now())


@server.tool()
async def connections_of(key: str) -> int:
    """How many of a session's GET streams the store believes to be read."""
    return sum(map(is_connected, (await get_store().afind_streams(sessions=[key])).values()))


@server.tool()
async def dropped_from(key: str) -> int:
    """How many messages a session has lost because nobody read them."""
    session = await get_store().aload_by_key(key)
    return -1 if session is None else int(session.metadata.get("dropped", 0))
