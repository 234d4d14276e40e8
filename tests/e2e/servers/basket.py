"""A server whose author logs."""

from __future__ import annotations

import logging
from typing import Any, Final

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer

logger = logging.getLogger("shop.tools")
server: Final = MCPServer("shop")
low: Final[Server[Any]] = Server("shop")


@server.tool()
async def empty_basket() -> str:
    """Empty the basket."""
    logger.info("basket emptied")
    return "empty"


@server.tool()
def count_basket() -> int:
    """A synchronous tool."""
    logger.info("basket counted")
    return 0
