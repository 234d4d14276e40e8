"""The helpdesk with two more tools: a session's key, and a named event sent by a tool."""

from __future__ import annotations

from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer

from example_project.helpdesk.server import server as helpdesk
from mcp_sessions import get_session

server: Final[MCPServer[Any]] = helpdesk


@server.tool(structured_output=False)
async def session_key(ctx: Context[Any, Any]) -> str:
    """The public name of this session."""
    return get_session(ctx).key


@server.tool(structured_output=False)
async def announce(event: str, text: str, ctx: Context[Any, Any]) -> str:
    """Send a named event to the open streams of this session."""
    was_sent = await get_session(ctx).send_event(event, {"text": text})
    return "sent" if was_sent else "not sent"
