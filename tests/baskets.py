"""Server objects whose tools take sessions, of the SDK and of FastMCP."""

from __future__ import annotations

from typing import Annotated, Any

from fastmcp import FastMCP
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import GetPromptRequestParams, GetPromptResult
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


async def emptied() -> str:
    """Empty the caller's own basket."""
    async with get_session().edit() as data:
        data["basket"] = []
    return "empty"


async def emptied_part(name: str) -> str:
    """Empty a part of the caller's own basket."""
    return f"{name}: {await emptied()}"


def emptied_in_thread() -> str:
    """Empty the caller's own basket, from a synchronous function."""
    with get_session().edit() as data:
        data["basket"] = []
    return "empty"


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
    each.tool()(emptied)
    each.tool()(emptied_in_thread)
    each.resource("basket://emptied")(emptied)
    each.resource("basket://emptied/{name}")(emptied_part)
    each.prompt()(emptied)
    each.prompt()(emptied_in_thread)


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


async def get_prompt(_: ServerRequestContext[Any, Any], params: GetPromptRequestParams) -> GetPromptResult:
    return GetPromptResult(description=await emptied(), messages=[])


low = Server("baskets", on_get_prompt=get_prompt)
