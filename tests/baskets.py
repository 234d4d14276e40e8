"""Server objects whose tools take sessions, of the SDK and of FastMCP."""

from __future__ import annotations

from typing import Annotated, Any

from fastmcp import FastMCP
from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field

from mcp_sessions import Session, get_session
from tests.servers import gates

server = MCPServer("baskets")
fast = FastMCP("baskets")


async def add(sku: str, session: Session) -> list[str]:
    """Put something into the basket."""
    async with session.edit() as data:
        data.setdefault("basket", []).append(sku)
    return list(session.data["basket"])


def count(session: Annotated[Session, Field(description="Whose basket")]) -> int:
    """How much there is in the basket, from a synchronous tool."""
    return len(session.data.get("basket", []))


async def hold(gate: str, session: Session) -> str:
    """Run until the test opens the gate."""
    await gates[gate].wait()
    return "held"


for each in (server, fast):
    each.tool()(add)
    each.tool()(count)
    each.tool()(hold)


@server.tool()
async def own(sku: str, ctx: Context[Any, Any]) -> str:
    """Put something into the caller's own basket."""
    async with get_session(ctx).edit() as data:
        data.setdefault("basket", []).append(sku)
    return " ".join(data["basket"])


@server.tool()
def weigh(grams: int) -> str:
    """It needs no session."""
    return f"{grams} g"
