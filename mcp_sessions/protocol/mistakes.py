"""Mistakes of clients, answered as such.

Server libraries take some mistakes for errors of the server: -32603, with a traceback in the log. With the
official SDK's MCPServer those are an unknown prompt, and arguments that do not fit a prompt or a resource
template. Here they are -32602. (What FastMCP needs is in fastmcp.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NoReturn

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from mcp_sessions.jsonrpc import INVALID_PARAMS
from mcp_sessions.protocol.handlers import Handler, Request, wrap_handler

Refuse = Callable[[str], NoReturn]

MAX_LENGTH: Final = 200
"""Characters of a client's own words in an error."""


def refuse_unknown_prompts(author: MCPServer[Any], low: Server[Any]) -> None:
    """Look for the prompt before the SDK does; an author with a lookup of their own is not asked."""
    if type(author).get_prompt is MCPServer.get_prompt:
        wrap_handler(low, "prompts/get", partial(_get_prompt, author))


async def _get_prompt(author: MCPServer[Any], handler: Handler, ctx: Request, params: Any) -> Any:
    prompt = author._prompt_manager.get_prompt(params.name)
    if prompt is None:
        refuse(f"Unknown prompt: {params.name}")
    refuse_missing_arguments(prompt, params.arguments, refuse)
    return await handler(ctx, params)


def refuse(message: str) -> NoReturn:
    raise MCPError(INVALID_PARAMS, message[:MAX_LENGTH])


def refuse_missing_arguments(prompt: Any, given: Mapping[str, Any] | None, refuse: Refuse) -> None:
    required = {each.name for each in prompt.arguments or () if each.required}
    if missing := required - set(given or ()):
        refuse(f"Missing arguments: {', '.join(sorted(missing))}")


@contextmanager
def refusing_arguments(name: str, refuse: Refuse) -> Iterator[None]:
    """Around a function of this name, whose arguments pydantic validates: what does not fit is refused."""
    try:
        yield
    except ValidationError as error:
        # Under another title it is an error inside the function.
        if error.title == name:
            refuse(f"Invalid arguments: {', '.join(sorted({str(e['loc'][0]) for e in error.errors()}))}")
        raise
