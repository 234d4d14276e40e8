"""A low-level server of the official SDK with a lifespan, and the tools that fast.py has too."""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

from tests.e2e.servers.lifespans import noted

Request = ServerRequestContext[dict[str, str], Any]

INTEGER: Final = {"type": "integer"}
NAME_SCHEMA: Final = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@asynccontextmanager
async def lifespan(_: Server[Any]) -> AsyncIterator[dict[str, str]]:
    with noted():
        yield {"greeting": "Hello"}


async def add(ctx: Request, a: int, b: int) -> str:
    return str(a + b)


async def greet(ctx: Request) -> str:
    answer = await ctx.session.elicit_form("What is your name?", NAME_SCHEMA, ctx.request_id)
    name = (answer.content or {}).get("name") if answer.action == "accept" else "nobody"
    return f"{ctx.lifespan_context['greeting']}, {name}"


async def count(ctx: Request, n: int) -> str:
    for step in range(1, n + 1):
        await ctx.session.report_progress(step, n)
    return f"counted to {n}"


async def roots(ctx: Request) -> str:
    with warnings.catch_warnings():
        # Given up in 2026-07-28, alive in the revisions before.
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        asking = ctx.session.list_roots()
    return json.dumps([str(root.uri) for root in (await asking).roots])


TOOLS: Final[dict[str, tuple[Callable[..., Awaitable[str]], dict[str, Any]]]] = {
    "add": (add, {"a": INTEGER, "b": INTEGER}),
    "greet": (greet, {}),
    "count": (count, {"n": INTEGER}),
    "roots": (roots, {}),
}


async def list_tools(_: Request, __: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(
        tools=[
            Tool(name=name, input_schema={"type": "object", "properties": properties})
            for name, (_, properties) in TOOLS.items()
        ]
    )


async def call_tool(ctx: Request, params: CallToolRequestParams) -> CallToolResult:
    text = await TOOLS[params.name][0](ctx, **(params.arguments or {}))
    return CallToolResult(content=[TextContent(type="text", text=text)])


server: Final[Server[dict[str, str]]] = Server(
    "low", lifespan=lifespan, on_list_tools=list_tools, on_call_tool=call_tool
)
