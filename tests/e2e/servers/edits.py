"""A server whose tools edit the data of their session."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer

from mcp_sessions import get_session
from tests.e2e.workers.gates import Gates

server: Final[MCPServer[Any]] = MCPServer("edits")

AnyContext = Context[Any, Any]


@server.tool(structured_output=False)
async def increment(ctx: AnyContext) -> str:
    """Add one, and look away in between; the process that did it."""
    async with get_session(ctx).edit() as data:
        count = data.get("count", 0)
        await asyncio.sleep(0.001)
        data["count"] = count + 1
    return str(os.getpid())


@server.tool(structured_output=False)
def increment_in_thread(ctx: AnyContext) -> str:
    """The same in synchronous code."""
    with get_session(ctx).edit() as data:
        count = data.get("count", 0)
        time.sleep(0.001)
        data["count"] = count + 1
    return str(os.getpid())


@server.tool(structured_output=False)
async def counted(ctx: AnyContext) -> str:
    """What the others have made of it."""
    return str(get_session(ctx).data.get("count", 0))


@server.tool(structured_output=False)
async def hold(gate: str, ctx: AnyContext) -> str:
    """Wait at the gate inside an edit."""
    gates = Gates.of_process()
    async with get_session(ctx).edit() as data:
        data["count"] = -1
        gates.note(gate, "inside")
        await gates.wait(gate)
    return "written"
