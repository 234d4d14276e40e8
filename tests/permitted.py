"""Server objects with components that not everybody may use; each has the same ones."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastmcp import FastMCP
from fastmcp.server.auth import require_scopes
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, Completion, ListToolsResult, TextContent, Tool
from pydantic import Field

from mcp_sessions import requires

used: Final[list[str]] = []
"""What was run, in order."""


def fill(server: Any) -> None:
    """`server` is of either library: they have the same decorators."""

    @server.tool()
    def look() -> str:
        used.append("look")
        return "seen"

    @server.tool()
    @requires(scopes=["write"])
    async def change() -> str:
        used.append("change")
        return "changed"

    @requires(permissions=["auth.delete_user"])
    @server.tool()
    def wipe() -> str:
        used.append("wipe")
        return "wiped"

    @server.tool()
    @requires(scopes=["write", "audit"], permissions=["auth.delete_user"])
    async def audit() -> str:
        used.append("audit")
        return "audited"

    @server.tool()
    def delete_everything() -> str:
        """The settings say who may."""
        used.append("delete_everything")
        return "gone"

    @server.resource("shop://open")
    def opened() -> str:
        return "open"

    @requires(scopes=["write"])
    @server.resource("shop://ledger")
    def ledger() -> str:
        return "ledger"

    @server.resource("orders://{number}")
    @requires(permissions=["auth.delete_user"])
    def order(number: str) -> str:
        return f"order {number}"

    @server.prompt()
    def greet() -> str:
        return "hello"

    @server.prompt()
    @requires(permissions=["auth.delete_user"])
    async def dismiss() -> str:
        return "goodbye"


async def complete(ref: Any, argument: Any, context: Any) -> Completion:
    return Completion(values=["7"])


sdk: Final = MCPServer("permitted")
fast: Final[FastMCP[Any]] = FastMCP("permitted")
mounted: Final[FastMCP[Any]] = FastMCP("outside")
for each in (sdk, fast):
    fill(each)
mounted.mount(fast, namespace="inner")
sdk.completion()(complete)
Region = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]


@sdk.tool()
@requires(permissions=["auth.delete_user"])
async def move(region: Region) -> str:
    """A client of 2026-07-28 must repeat its argument in a header."""
    return region


@sdk.tool()
async def report(ctx: Context[Any, Any]) -> str:
    """Begins a stream before anything else."""
    await ctx.report_progress(1, 2)
    return "reported"


@fast.tool(auth=require_scopes("write"))
def fastmcps_own() -> str:
    return "FastMCP's own"


async def list_tools(_: Any, __: Any) -> ListToolsResult:
    names = ("look", "delete_everything")
    return ListToolsResult(tools=[Tool(name=name, input_schema={"type": "object"}) for name in names])


async def call_tool(_: Any, params: Any) -> CallToolResult:
    used.append(params.name)
    return CallToolResult(content=[TextContent(type="text", text="done")])


low: Final[Server[Any]] = Server("permitted", on_list_tools=list_tools, on_call_tool=call_tool)

pages: Final = MCPServer("pages")
fast_pages: Final[FastMCP[Any]] = FastMCP("pages")


def page(name: str) -> str:
    return f"page {name}"


for each in (pages, fast_pages):
    each.resource("page://{name}")(page)
