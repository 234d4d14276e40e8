"""Changes that a tool's author sends as in earlier revisions, `ctx.session.send_tool_list_changed()` for one.

In earlier revisions they go to the client whose call is served. A client of 2026-07-28 hears of changes by
`subscriptions/listen`, at whichever worker, and on no other stream (transport.md 6.7). So whatever is sent to
one client is published to those that listen.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.dispatcher import CallOptions
from mcp.shared.subscriptions import LISTEN_STREAM_METHODS

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.messages import publish_change
from mcp_sessions.protocol.client_requests import sent_through

logger = logging.getLogger("mcp_sessions.protocol")

Params = Mapping[str, Any] | None


def is_change(method: str) -> bool:
    """Whether a notification tells of a change that clients may listen for."""
    return method in LISTEN_STREAM_METHODS


async def tell_listeners(endpoint: str, method: str, params: Params) -> None:
    """Publish a change to the clients that listen. What cannot be published is in the log."""
    try:
        await publish_change(endpoint, method, params)
    except StoreUnavailable as error:
        logger.warning("clients that listen are not notified of %s: %s", method, error)


def published(ctx: ServerRequestContext[Any, Any], endpoint: str) -> ServerRequestContext[Any, Any]:
    """A request of 2026-07-28 for its handler: changes that it sends go to those who listen."""
    request, connection = ctx.session._request_outbound, ctx.session._connection.outbound
    return sent_through(ctx, Publishing(request, endpoint), Publishing(connection, endpoint))


class Publishing:
    """A channel of the SDK's that publishes changes, and sends everything else."""

    def __init__(self, channel: Any, endpoint: str) -> None:
        self._channel = channel
        self._endpoint = endpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    async def notify(self, method: str, params: Params, opts: CallOptions | None = None) -> None:
        if is_change(method):
            await tell_listeners(self._endpoint, method, params)
        else:
            await self._channel.notify(method, params, opts)
