"""The server object whose endpoint is fuzzed: each kind of reply, and nothing that waits for long."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from mcp_sessions import get_session

server = MCPServer("fuzz")


class Basket(BaseModel):
    owner: str
    items: list[str] = []


@server.tool()
def echo(text: str) -> str:
    return text


@server.tool()
def add(a: int, b: float = 1) -> float:
    return a + b


@server.tool()
def count(basket: Basket) -> int:
    return len(basket.items)


@server.tool()
async def report(ctx: Context) -> str:
    """Says something before it answers: the reply is a stream."""
    await ctx.report_progress(1, 2, "half")
    return "done"


@server.tool()
async def recall(ctx: Context) -> dict[str, Any]:
    """What the session has: nobody else's may ever be shown."""
    return dict(get_session(ctx).data)


@server.tool()
def fail() -> str:
    raise ValueError("no")


@server.resource("note://{name}")
def note(name: str) -> str:
    return f"about {name}"


@server.prompt()
def greet(name: str) -> str:
    return f"Hello {name}"
