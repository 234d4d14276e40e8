"""The helpdesk with a few more tools: a session's key, a named event, and a conversation in steps."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer

from example_project.helpdesk.server import server as helpdesk
from mcp_sessions import get_session

server: Final[MCPServer[Any]] = helpdesk
waiting: Final[dict[str, asyncio.Event]] = {}
"""What the session of this key is to have heard before more is said."""


@server.tool(structured_output=False)
async def session_key(ctx: Context[Any, Any]) -> str:
    """The public name of this session."""
    return get_session(ctx).key


@server.tool(structured_output=False)
async def announce(event: str, text: str, ctx: Context[Any, Any]) -> str:
    """Send a named event to the open streams of this session."""
    was_sent = await get_session(ctx).send_event(event, {"text": text})
    return "sent" if was_sent else "not sent"


@server.tool(structured_output=False)
async def count_aloud(n: int, ctx: Context[Any, Any]) -> str:
    """Report n steps, and wait after each until the client says that it has heard of it."""
    key = get_session(ctx).key
    for step in range(1, n + 1):
        has_heard = waiting[key] = asyncio.Event()
        await ctx.report_progress(step, n)
        await has_heard.wait()
    return f"counted to {n}"


@server.tool(structured_output=False)
async def heard(ctx: Context[Any, Any]) -> str:
    """Have count_aloud go on."""
    waiting[get_session(ctx).key].set()
    return "go on"
