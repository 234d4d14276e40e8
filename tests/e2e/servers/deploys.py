"""The workers' tools, and some that say where they run, last a while, or stop their process's loop."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer

from tests.e2e.servers.workers import handshake_era, noted
from tests.e2e.servers.workers import server as workers
from tests.e2e.workers.gates import Gates

server: Final[MCPServer[Any]] = workers


@server.tool(structured_output=False)
async def hold(gate: str, ctx: Context[Any, Any]) -> str:
    """Report the process that this runs in, and wait at the gate."""
    await ctx.report_progress(os.getpid())
    await Gates.of_process().wait(gate)
    return f"done by {os.getpid()}"


@server.tool(structured_output=False)
async def work(number: int, seconds: float, ctx: Context[Any, Any]) -> str:
    """Report that it has begun, if the client wants to know, and return the number after a while."""
    await ctx.report_progress(0, 1)
    await asyncio.sleep(seconds)
    return f"done {number}"


@server.tool(structured_output=False)
async def block(seconds: float, ctx: Context[Any, Any]) -> str:
    """Stop the event loop for so long, as a tool does that forgot that it is asynchronous."""
    await ctx.report_progress(0, 1)
    time.sleep(seconds)
    return "blocked"


@server.tool(structured_output=False)
async def say_at(gate: str, texts: list[str], ctx: Context[Any, Any]) -> str:
    """Wait at the gate, then log on the session's standalone stream."""
    with noted(gate):
        await Gates.of_process().wait(gate)
        for text in texts:
            with handshake_era():
                await ctx.session.send_log_message("info", text)
    return "said"


@server.tool(structured_output=False)
async def report_at(gate: str, ctx: Context[Any, Any]) -> str:
    """Wait at the gate, then report progress, for the first time."""
    with noted(gate):
        await Gates.of_process().wait(gate)
        await ctx.report_progress(1, 1)
    return "reported"
