"""Requests that are being served while the session store is unavailable: clients learn it, and try again.

Server libraries take StoreUnavailable for a crash: the client learns nothing, and each call logs a traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError

from mcp_sessions import jsonrpc
from mcp_sessions.context_values import set_within
from mcp_sessions.exceptions import SessionEnded, StoreUnavailable
from mcp_sessions.protocol.answers import store_unavailable
from mcp_sessions.protocol.outcomes import has_failed

logger = logging.getLogger("mcp_sessions.protocol")

REASON: Final = {"reason": "store_unavailable"}
READS: Final = frozenset(
    {"tools/list", "resources/list", "resources/templates/list", "prompts/list", "server/discover"}
)
"""Methods that do nothing but read."""


class StoreOutage:
    """What one request has met of it: nothing, mostly."""

    def __init__(self) -> None:
        self.error: StoreUnavailable | None = None
        self.is_unserved = False
        """Whether the store was unavailable before the author's function began: nothing was done."""

    def note(self, error: StoreUnavailable, what: str) -> None:
        if error is not self.error:
            self.error = error
            logger.error("%s failed: %s", what, error)


current_outage: ContextVar[StoreOutage | None] = ContextVar("mcp_outage", default=None)
"""What the request that is served has met."""


@contextmanager
def before_work(what: str) -> Iterator[None]:
    """Around what the app itself does before it calls a function of the author's, or in its place."""
    try:
        yield
    except StoreUnavailable as error:
        if (outage := current_outage.get()) is not None:
            outage.note(error, what)
            outage.is_unserved = True
        raise


def note(error: StoreUnavailable, what: str) -> str:
    """Note that it was raised by a function of the author's; the text for the client."""
    (current_outage.get() or StoreOutage()).note(error, what)
    return store_unavailable(error).message


async def explain(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware of a prepared server: what a handler raises for an outage becomes a clear error."""
    with set_within(current_outage, current_outage.get() or StoreOutage()) as outage:
        outage.is_unserved = False
        try:
            result = await call_next(ctx)
        except StoreUnavailable as error:
            outage.note(error, ctx.method)
            outage.is_unserved |= ctx.method in READS
            raise _as_error(error) from error
        except SessionEnded as error:
            raise MCPError(jsonrpc.INVALID_REQUEST, "The session has ended.") from error
        except Exception as error:
            if outage.error is None or _is_as_error(error):
                raise
            raise _as_error(outage.error) from error
        outage.is_unserved &= has_failed(result)
        return result


def _as_error(error: StoreUnavailable) -> MCPError:
    return MCPError(jsonrpc.INTERNAL_ERROR, store_unavailable(error).message, REASON)


def _is_as_error(error: Exception) -> bool:
    return isinstance(error, MCPError) and error.error.data == REASON
