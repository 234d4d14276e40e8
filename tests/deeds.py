"""Server objects whose tools happen once: of the SDK, of FastMCP, and the SDK's low-level server."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any, Final

from fastmcp import Context as FastContext
from fastmcp import FastMCP
from fastmcp.exceptions import ToolError as FastToolError
from fastmcp.tools.base import ToolResult
from fastmcp.tools.function_tool import FunctionTool
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError, UrlElicitationRequiredError
from mcp_types import CallToolResult, ElicitRequestURLParams, ListToolsResult, TextContent, Tool

from mcp_sessions import Session, aend_session, once
from tests.servers import elicit, gates

happened: Final[Counter[str]] = Counter()
"""How often the functions of tools have begun, by what they were called with."""


def did(what: str) -> int:
    happened[what] += 1
    return happened[what]


async def at_gate(order: str) -> None:
    if order in gates:
        await gates[order].wait()


def fill(server: Any, refusal: type[Exception]) -> None:
    """`server` is of either library: they have the same decorators."""

    @server.tool()
    @once(key="order")
    async def pay(order: str, amount: int = 1) -> dict[str, Any]:
        """Below the decorator of the library, asynchronous, known by an argument."""
        times = did(order)
        await at_gate(order)
        return {"order": order, "amount": amount, "times": times}

    @once(within=3600)
    @server.tool()
    def book(seat: str, row: float = 1) -> str:
        """Above it, synchronous, known by all arguments."""
        return f"{seat} {did(seat)}"

    @once(key="order")
    @server.tool()
    async def decline(order: str) -> str:
        did(order)
        raise refusal("The card was declined.")

    @once(key="order")
    @server.tool()
    async def fail(order: str) -> str:
        did(order)
        raise RuntimeError("a mistake of the author's")

    @server.tool()
    @once(key="order")
    async def refuse(order: str) -> str:
        did(order)
        raise MCPError(-32000, "not here", {"order": order})

    @server.tool()
    @once(key="order")
    async def consent(order: str) -> str:
        """Wants to be called again, when the user has been at a URL."""
        if did(order) == 1:
            asked = ElicitRequestURLParams(message="Go", url="https://bank.example", elicitation_id="1")
            raise UrlElicitationRequiredError([asked])
        return f"paid {happened[order]}"

    @server.tool()
    @once(key="order", rerun_if_lost=True)
    async def repeatable(order: str) -> str:
        times = did(order)
        await at_gate(order)
        return str(times)

    @server.tool()
    @once(key="order")
    async def store(order: str, session: Session) -> str:
        did(order)
        async with session.edit() as data:
            data["orders"] = [*data.get("orders", ()), order]
        return " ".join(data["orders"])

    @server.tool()
    @once(key="token")
    async def optional(order: str, token: str | None = None) -> str:
        return str(did(order))

    @server.tool()
    @once(key="order")
    async def long(order: str) -> str:
        return str(did(order)) * 70_000

    @server.tool()
    async def by_settings(order: str) -> str:
        return str(did(order))

    @server.tool()
    async def plain(order: str) -> str:
        return str(did(order))


sdk: Final = MCPServer("deeds")
fast: Final[FastMCP[Any]] = FastMCP("deeds")
fill(sdk, ToolError)
fill(fast, FastToolError)


@sdk.tool()
@once(key="order")
async def ask(order: str, ctx: Context[Any, Any]) -> str:
    """Asks the user, and reports."""
    await ctx.report_progress(1, 2)
    answer = await elicit("Really?", ctx)
    did(order)
    await at_gate(order)
    return answer


@sdk.tool()
@once(key="order")
async def unsendable(order: str) -> CallToolResult:
    """Its result is no JSON."""
    did(order)
    return CallToolResult(content=[], structured_content={"at": object()})


@sdk.tool()
@once(key="order")
async def finish(order: str, session: Session) -> str:
    """Ends its own session."""
    did(order)
    await aend_session(session.key)
    return "finished"


@sdk.tool()
@once(key="order")
async def deliver(order: str, ctx: Context[Any, Any]) -> str:
    """Reports before and after it waits."""
    return await delivered(order, ctx)


@once(key="order")
@fast.tool(name="deliver")
async def fast_deliver(order: str, ctx: FastContext) -> str:
    return await delivered(order, ctx)


async def delivered(order: str, ctx: Any) -> str:
    await ctx.report_progress(1, 2)
    await at_gate(order)
    await ctx.report_progress(2, 2)
    return str(did(order))


class Elsewhere(FunctionTool):
    """Runs its function in a thread that knows nothing of the call's context."""

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        loop = asyncio.get_running_loop()
        return self.convert_result(await loop.run_in_executor(None, partial(self.fn, **arguments)))


@once(key="order")
def elsewhere(order: str) -> str:
    return str(did(order))


fast.add_tool(Elsewhere.from_function(elsewhere))


async def list_tools(ctx: Any, params: Any) -> ListToolsResult:
    schema = {"type": "object", "properties": {"order": {"type": "string"}}}
    return ListToolsResult(tools=[Tool(name=name, input_schema=schema) for name in ("by_settings", "plain")])


async def call_tool(ctx: Any, params: Any) -> CallToolResult:
    order = str(params.arguments["order"])
    did(order)
    await at_gate(order)
    if order.startswith("fails"):
        raise RuntimeError("a mistake of the author's")
    return CallToolResult(content=[TextContent(type="text", text=str(happened[order]))])


low: Final = Server("deeds", on_list_tools=list_tools, on_call_tool=call_tool)
