"""A request of the server to its client, in every revision, and the wait for its answer."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError
from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY, REQUEST_TIMEOUT

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


def sent_through(
    ctx: ServerRequestContext[Any, Any], request: Any, connection: Any
) -> ServerRequestContext[Any, Any]:
    """The same request for its handler, whose messages go through these two.

    Through the first what belongs to the request, through the other what belongs to its connection.
    """
    session = copy.copy(ctx.session)
    session._connection = copy.copy(session._connection)
    session._connection.outbound = connection
    session._request_outbound = request
    return replace(ctx, session=session)


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
    """Why a client of 2026-07-28 cannot be sent this request (transport.md 6.2)."""
    required: dict[str, Any] = {}
    for name in reversed((lack or "").split(".")):
        required = {name: required} if name else {}
    return MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY, said_of(lack or "", method), {"requiredCapabilities": required}
    )


class Undeclared:
    """A channel of the SDK's to a client that declared no capability for requests."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        if method in NEEDS:
            raise not_declared(method, NEEDS[method])
        answer: dict[str, Any] = await self._channel.send_raw_request(method, params, opts)
        return answer


def progress_params(progress: float, total: float | None, message: str | None) -> dict[str, Any]:
    """What a notification of progress says, without the token."""
    params = {"progress": progress, "total": total, "message": message}
    return {name: value for name, value in params.items() if value is not None}
