"""The five tools by which servers are compared, see the benchmark's own description."""

from __future__ import annotations

import warnings
from typing import Any, Final

from mcp.server.connection import Connection
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPDeprecationWarning

server: Final = MCPServer("bench")
joined: Final[list[Connection]] = []


@server.tool()
async def echo(text: str) -> str:
    """The text as it came."""
    return text


@server.tool()
async def progress(n: int, ctx: Context[Any, Any]) -> str:
    """n progress notifications on this call's stream."""
    for step in range(1, n + 1):
        await ctx.report_progress(step, n)
    return "done"


@server.tool()
async def notify(n: int, text: str, ctx: Context[Any, Any]) -> str:
    """n log messages on the session's standalone stream: they belong to no request."""
    for _ in range(n):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            sending = ctx.session.send_log_message("info", text)
        await sending
    return "sent"


@server.tool()
async def join(ctx: Context[Any, Any]) -> str:
    """Be among those to whom broadcast sends."""
    joined.append(ctx.session._connection)
    return "ok"


@server.tool()
async def broadcast(text: str) -> str:
    """One log message to each who joined in this process."""
    for connection in joined:
        await connection.outbound.notify("notifications/message", {"level": "info", "data": text})
    return str(len(joined))
