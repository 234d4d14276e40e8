"""The error by which a tool sends the user to a URL first: -32042, which 2026-07-28 does not know."""

from __future__ import annotations

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, URL_ELICITATION_REQUIRED
from mcp_types.version import MODERN_PROTOCOL_VERSIONS


async def with_known_code(ctx: ServerRequestContext, call_next: CallNext) -> HandlerResult:
    """Middleware of a prepared server: in 2026-07-28 the same error has a code that clients know."""
    try:
        return await call_next(ctx)
    except MCPError as error:
        if error.code != URL_ELICITATION_REQUIRED or ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise
        raise MCPError(INVALID_REQUEST, error.message, error.data) from error
