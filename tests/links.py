"""Server objects whose tools send the user to a URL, of the SDK and of FastMCP."""

from __future__ import annotations

from typing import Any, Final

from fastmcp import Context as FastContext
from fastmcp import FastMCP
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import UrlElicitationRequiredError
from mcp_types import ElicitRequestURLParams

server = MCPServer("links")
fast = FastMCP("links")

URL: Final = "https://bank.example/authorize"
ID: Final = "authorization-1"


async def pay_elsewhere() -> str:
    """Cannot be done before the user has been at the URL."""
    raise UrlElicitationRequiredError(
        [ElicitRequestURLParams(message="Authorize it", url=URL, elicitation_id=ID)]
    )


for each in (server, fast):
    each.tool()(pay_elsewhere)


@server.tool()
async def pay(ctx: Context[Any, Any]) -> str:
    """Have the user go to the URL, and tell the client when that is done."""
    answer = await ctx.elicit_url("Authorize it", URL, ID)
    await ctx.session.send_elicit_complete(ID, ctx.request_id)
    return answer.action


@fast.tool(name="pay")
async def fast_pay(ctx: FastContext) -> str:
    """The same through the session of the SDK, which FastMCP hands on."""
    answer = await ctx.session.elicit_url("Authorize it", URL, ID, ctx.request_id)
    await ctx.session.send_elicit_complete(ID, ctx.request_id)
    return answer.action
