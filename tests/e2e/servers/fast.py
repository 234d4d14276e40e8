"""A FastMCP server with a lifespan, and one tool for each thing a tool can do."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastmcp import Context, FastMCP
from mcp.shared.exceptions import MCPDeprecationWarning

from tests.e2e.servers.lifespans import noted


@dataclass
class Answer:
    name: str


@asynccontextmanager
async def lifespan(_: FastMCP[Any]) -> AsyncIterator[dict[str, str]]:
    with noted():
        yield {"greeting": "Hello"}


server: FastMCP[Any] = FastMCP("fast", lifespan=lifespan)


@server.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool
async def greet(ctx: Context) -> str:
    """Ask for a name, and greet with what the lifespan made."""
    answer = await ctx.elicit("What is your name?", Answer)
    name = answer.data.name if answer.action == "accept" else "nobody"
    return f"{ctx.lifespan_context['greeting']}, {name}"


@server.tool
async def count(n: int, ctx: Context) -> str:
    """Report progress n times."""
    for step in range(1, n + 1):
        await ctx.report_progress(step, n)
    return f"counted to {n}"


@server.tool
async def roots(ctx: Context) -> list[str]:
    """The client's roots."""
    with warnings.catch_warnings():
        # Given up in 2026-07-28, alive in the revisions before.
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        asking = ctx.session.list_roots()
    return [str(root.uri) for root in (await asking).roots]
