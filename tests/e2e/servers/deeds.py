"""Server objects whose tools happen once; each says that it happens, and waits for its test."""

from __future__ import annotations

import os
from typing import Any

from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer

from mcp_sessions import Session, once
from tests.e2e.workers.gates import Gates

server = MCPServer("deeds")
fast = FastMCP("deeds")


async def pay(order: str, session: Session) -> dict[str, Any]:
    """Once for each order. The order is the gate at which it waits."""
    return await paid(order)


async def pay_again(order: str, session: Session) -> dict[str, Any]:
    """The same; its author says that it may be run again when its worker was lost."""
    return await paid(order)


async def paid(order: str) -> dict[str, Any]:
    gates = Gates.of_process()
    gates.note(order, "paid")
    await gates.wait(order)
    return {"by": os.getpid()}


for each in (server, fast):
    each.tool()(once(key="order")(pay))
    each.tool()(once(key="order", rerun_if_lost=True)(pay_again))
