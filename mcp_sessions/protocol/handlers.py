"""The request handlers of a prepared copy of a server, which are replaced by ones around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

Request = ServerRequestContext[Any, Any]
Handler = Callable[[Request, Any], Awaitable[Any]]


def wrap_handler(
    low: Server[Any], method: str, serve: Callable[[Handler, Request, Any], Awaitable[Any]]
) -> None:
    """Have `serve(handler, ctx, params)` answer in place of the method's handler, if there is one."""
    if (entry := low.get_request_handler(method)) is not None:
        low.add_request_handler(method, entry.params_type, partial(serve, entry.handler))
