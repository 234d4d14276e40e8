"""A call that goes on when its sender has left: what it sends goes nowhere then, and what it asks fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError

from mcp_sessions.protocol.client_requests import sent_through


class UntilLeft:
    """What a call sends through, as long as its sender is there."""

    def __init__(self) -> None:
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on(self, ctx: ServerRequestContext[Any, Any]) -> ServerRequestContext[Any, Any]:
        """The request as the call sees it."""
        session = ctx.session
        request, connection = session._request_outbound, session._connection.outbound
        return sent_through(ctx, Through(request, self._left), Through(connection, self._left))

    def leave(self) -> None:
        self._left.set_result(None)


class Through:
    """A channel of the SDK's until the sender has left."""

    def __init__(self, channel: Any, left: asyncio.Future[None]) -> None:
        self._channel = channel
        self._left = left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client. Raises NoBackChannelError as soon as it has left."""
        asked = asyncio.ensure_future(self._channel.send_raw_request(method, params, opts))
        try:
            await asyncio.wait({asked, self._left}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise NoBackChannelError(method)
            return dict(asked.result())
        finally:
            asked.cancel()

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        if not self._left.done():
            await self._channel.notify(method, params, opts)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if not self._left.done():
            await self._channel.progress(progress, total, message)
