"""Server objects whose tools take sessions, of the SDK and of FastMCP."""

from __future__ import annotations

from typing import Annotated, Any

from fastmcp import FastMCP
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field

from mcp_sessions import Session, get_session
from tests.servers import gates

PUBLIC = CacheHint(ttl_ms=60_000, scope="public")
server = MCPServer("baskets", cache_hints={"tools/list": PUBLIC})
fast = FastMCP("baskets", cache_ttl=60, cache_scope="public")


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


async def own_basket() -> str:
    """What is in the caller's own basket."""
    return " ".join(get_session().data.get("basket", ["nothing"]))


def own_basket_in_thread() -> str:
    """The same from a synchronous function."""
    return " ".join(get_session().data.get("basket", ["nothing"]))


async def own_part(name: str) -> str:
    """A part of the caller's own basket."""
    return str(get_session().data.get(name, "nothing"))


for each in (server, fast):
    each.tool()(add)
    each.tool()(count)
    each.tool()(hold)
    each.resource("basket://own")(own_basket)
    each.resource("basket://own-in-thread")(own_basket_in_thread)
    each.resource("basket://part/{name}")(own_part)
    each.prompt()(own_basket)
    each.prompt()(own_basket_in_thread)
    each.prompt()(own_part)


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
