"""What a session remembers for its client: its log level and its subscriptions.

The server libraries answer "method not found" here, or forget at once. So these handlers are
registered on the prepared copy; an author's own handler still runs, after ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import EmptyResult, SetLevelRequestParams, SubscribeRequestParams, UnsubscribeRequestParams

from mcp_sessions import jsonrpc
from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import with_retry
from mcp_sessions.exceptions import SessionEnded, StoreUnavailable
from mcp_sessions.protocol.bounds import check_uri, past_limit
from mcp_sessions.protocol.handlers import Request
from mcp_sessions.state import get_session
from mcp_sessions.stores import get_store

Remember = Callable[[Request, Any], Awaitable[None]]


def add(low: Server[Any]) -> None:
    """Register what this app remembers on a copy of a server."""
    _register(low, "logging/setLevel", SetLevelRequestParams, _set_level)
    if low.get_request_handler("resources/list") is not None:
        _register(low, "resources/subscribe", SubscribeRequestParams, _subscribe)
        _register(low, "resources/unsubscribe", UnsubscribeRequestParams, _unsubscribe)


def _register(low: Server[Any], method: str, params_type: Any, ours: Remember) -> None:
    authors = low.get_request_handler(method)

    async def handle(ctx: Request, params: Any) -> Any:
        await _remembered(lambda: ours(ctx, params), method)
        return EmptyResult() if authors is None else await authors.handler(ctx, params)

    low.add_request_handler(method, params_type, handle)


async def _remembered(remember: Callable[[], Awaitable[None]], method: str) -> None:
    """An outage of the store holds these requests up, as it does what a tool sends. Twice is once."""
    try:
        await with_retry(remember, f"{method} waits")
    except StoreUnavailable as error:
        text = "The session store cannot be reached: try again later."
        raise MCPError(jsonrpc.INTERNAL_ERROR, text, {"reason": "store_unavailable"}) from error


async def _set_level(ctx: Request, params: SetLevelRequestParams) -> None:
    await get_store().asave_metadata(get_session(ctx).key, {"log_level": params.level})


async def _subscribe(ctx: Request, params: SubscribeRequestParams) -> None:
    session, uri = get_session(ctx), str(params.uri)
    options = AppSettings(session.record.server)
    check_uri(uri, options.MAX_URI_LENGTH)
    try:
        is_kept = await get_store().asubscribe(session.key, uri, options.MAX_SUBSCRIPTIONS)
    except SessionEnded as error:
        raise MCPError(jsonrpc.INVALID_REQUEST, "The session has ended.") from error
    if not is_kept:
        text = "A session has at most {} subscriptions: unsubscribe from another resource first."
        raise past_limit("subscription_limit", options.MAX_SUBSCRIPTIONS, text)


async def _unsubscribe(ctx: Request, params: UnsubscribeRequestParams) -> None:
    await get_store().aunsubscribe(get_session(ctx).key, str(params.uri))
