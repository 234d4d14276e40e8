"""Server objects for 2026-07-28: of the SDK and of FastMCP, whose tools notify and ask."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastmcp import Context as FastContext
from fastmcp import FastMCP
from fastmcp.server.sessions import SessionId, SessionProvider, get_session
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import (
    PromptListChangedNotification,
    ResourceListChangedNotification,
    ToolListChangedNotification,
)
from pydantic import BaseModel

from mcp_sessions import Session

server = MCPServer("stateless")
fast = FastMCP("stateless-fast", providers=[SessionProvider()])


class Name(BaseModel):
    name: str


async def ask_for_name() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


@server.tool()
async def greet(who: Annotated[Name, Resolve(ask_for_name)]) -> str:
    """Greet whoever answers."""
    return f"Hello, {who.name}!"


@server.tool()
async def update(uri: str, ctx: Context[Any, Any]) -> str:
    """Tell everybody that a resource has changed."""
    await ctx.notify_resource_updated(uri)
    return "updated"


@server.tool()
async def change_tools(ctx: Context[Any, Any]) -> str:
    """Tell everybody that the list of tools has changed."""
    await ctx.notify_tools_changed()
    return "changed"


@server.tool()
async def update_older(uri: str, ctx: Context[Any, Any]) -> str:
    """Tell the client that a resource and the lists have changed, as in earlier revisions."""
    await ctx.session.send_resource_updated(uri)
    await ctx.session.send_tool_list_changed()
    await ctx.session.send_prompt_list_changed()
    await ctx.session.send_resource_list_changed()
    return "updated"


@fast.tool(name="update_older")
async def fast_update_older(uri: str, ctx: FastContext) -> str:
    """The same, in FastMCP's ways."""
    await ctx.session.send_resource_updated(uri)
    await ctx.send_notification(ToolListChangedNotification())
    await ctx.send_notification(PromptListChangedNotification())
    await ctx.send_notification(ResourceListChangedNotification())
    return "updated"


@fast.tool(name="sign")
async def fast_sign(ctx: FastContext) -> str:
    """Ask through the session of the SDK, which FastMCP hands on."""
    await ctx.report_progress(1, 2)
    schema = Name.model_json_schema()
    answer = await ctx.session.elicit_form("Who are you?", schema, ctx.request_id)
    return f"{answer.action} {(answer.content or {}).get('name')}"


@server.tool()
async def count(session: Session) -> int:
    """Count the calls in this session."""
    async with session.edit() as data:
        data["count"] = data.get("count", 0) + 1
        return int(data["count"])


@server.tool()
async def sign(ctx: Context[Any, Any]) -> str:
    """Ask twice, and report progress in between, as in earlier revisions."""
    await ctx.report_progress(1, 3)
    first = await ctx.elicit("Who are you?", Name)
    await ctx.report_progress(2, 3)
    second = await ctx.elicit("Who else?", Name)
    return f"{first.data.name} and {second.data.name}"  # type: ignore[union-attr]


@server.tool()
async def both(ctx: Context[Any, Any]) -> str:
    """Ask two things at the same time."""
    first, second = await asyncio.gather(ctx.elicit("Who?", Name), ctx.elicit("Who else?", Name))
    return f"{first.data.name} and {second.data.name}"  # type: ignore[union-attr]


@server.resource("board://{name}")
async def board(name: str) -> str:
    return name


@fast.resource("board://{name}")
async def fast_board(name: str) -> str:
    return name


@fast.tool()
async def remember(name: str, value: int, ctx: FastContext) -> str:
    """Keep a value in FastMCP's own way."""
    await ctx.set_state(name, value)
    return "kept"


@fast.tool()
async def recall(names: list[str], ctx: FastContext) -> list[int | None]:
    """What was kept."""
    return [await ctx.get_state(name) for name in names]


@fast.tool()
async def visit(session_id: SessionId) -> int:
    """Count the visits of a session of FastMCP's own."""
    session = await get_session(session_id)
    visits = int(await session.get("visits", 0)) + 1
    await session.set("visits", visits)
    return visits
