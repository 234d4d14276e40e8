"""A request of the server to its client, in every revision, and the wait for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_REQUEST,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    REQUEST_TIMEOUT,
    URL_ELICITATION_REQUIRED,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_sessions import jsonrpc
from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import TooManyPendingRequests
from mcp_sessions.records import SessionRecord

Send = Callable[[], Awaitable[None]]
Withdraw = Callable[[str], Awaitable[None]]

NEEDS = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
"""The capability that a client must have declared."""


async def request_from_client(
    session: SessionRecord,
    request_id: str,
    method: str,
    options: CallOptions | None,
    send: Send,
    withdraw: Withdraw | None = None,
) -> dict[str, Any]:
    """The result of the client's answer to a request with this id, which `send` sends.

    `withdraw` tells the client, with a reason, that nobody waits any more. Raises MCPError for an error,
    when no answer comes in time, and when the client has too many other requests to answer.
    """
    options, pending = options or {}, get_hub().pending_requests
    seconds = options.get("timeout") or AppSettings(session.server).CLIENT_REPLY_SECONDS
    try:
        answer = await pending.add(session, request_id, seconds, options.get("on_progress"))
        await send()
        async with asyncio.timeout(seconds):
            return _result_of(await answer)
    except TooManyPendingRequests as error:
        text = f"{method} cannot be sent to the client. {error}"
        raise MCPError(jsonrpc.INVALID_REQUEST, text) from error
    except TimeoutError:
        if withdraw is not None:
            await withdraw("timed out")
        text = f"The client did not answer {method} within {seconds:g} s"
        raise MCPError(REQUEST_TIMEOUT, text) from None
    except asyncio.CancelledError:
        if withdraw is not None:
            await withdraw("the call was cancelled")
        raise
    finally:
        pending.discard(session.key, request_id)


def _result_of(response: jsonrpc.Response) -> dict[str, Any]:
    if response.error is not None:
        raise MCPError(response.error["code"], response.error["message"], response.error.get("data"))
    return dict(response.result or {})


def lacking(method: str, params: Mapping[str, Any] | None, declared: Mapping[str, Any]) -> str | None:
    """The capability that a client must have declared to be sent this request, if it has not.

    An elicitation has a mode. A client that declared no mode knows "form" alone.
    """
    needed = NEEDS.get(method)
    if needed is None:
        return None
    if declared.get(needed) is None:
        return needed
    modes = {"form", "url"} & set(declared[needed]) or {"form"}
    mode = (params or {}).get("mode", "form")
    return f"{needed}.{mode}" if needed == "elicitation" and mode not in modes else None


def said_of(lack: str, method: str) -> str:
    return f"The client did not declare {lack!r}: {method} cannot be sent to it."


def not_declared(method: str, lack: str | None) -> MCPError:
    """Why a client of 2026-07-28 cannot be sent this request."""
    required: dict[str, Any] = {}
    for name in reversed((lack or "").split(".")):
        required = {name: required} if name else {}
    return MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY, said_of(lack or "", method), {"requiredCapabilities": required}
    )


async def with_known_code(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware of a prepared server, for the error by which a tool sends the user to a URL first.

    2026-07-28 does not know -32042. There the same error has a code that clients know.
    """
    try:
        return await call_next(ctx)
    except MCPError as error:
        if error.code != URL_ELICITATION_REQUIRED or ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise
        raise MCPError(INVALID_REQUEST, error.message, error.data) from error


def progress_params(progress: float, total: float | None, message: str | None) -> dict[str, Any]:
    """What a notification of progress says, without the token."""
    params = {"progress": progress, "total": total, "message": message}
    return {name: value for name, value in params.items() if value is not None}
