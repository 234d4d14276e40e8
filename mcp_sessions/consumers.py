"""The Channels consumer that streams server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from mcp_sessions.asgi import Send, send_reply, to_exchange
from mcp_sessions.backpressure import watch
from mcp_sessions.protocol.endpoint import handle


class StreamConsumer(AsyncConsumer):
    """One GET: an event stream for as long as the client stays.

    It joins no group of the channel layer: one reader per process follows the store for all
    streams.
    """

    channel_layer_alias = None  # type: ignore[assignment]  # for Channels: no layer
    _stream: asyncio.Task[None] | None = None

    async def dispatch(self, message: Mapping[str, Any]) -> None:
        """Call the handler, without the hop through the thread-sensitive executor that a consumer takes."""
        if message["type"] == "http.request":
            await self.http_request(message)
        else:
            await self.http_disconnect(message)

    async def http_request(self, message: Mapping[str, Any]) -> None:
        """Begin to stream; a task does it, since nothing else is dispatched until this returns.

        A GET's body means nothing, so nobody waits for the rest of it.
        """
        if self._stream is None:
            self._stream = asyncio.create_task(self._serve())

    async def http_disconnect(self, message: Mapping[str, Any]) -> None:
        """The client has gone, or the stream is over: either way nothing is left to do here."""
        if self._stream is not None:
            self._stream.cancel()
            await asyncio.wait({self._stream})
        raise StopConsumer

    async def _serve(self) -> None:
        # The same callable; Channels types its messages more narrowly than ASGI does.
        reply = await handle(to_exchange(self.scope))
        watch(self.scope, reply)
        await send_reply(reply, cast(Send, self.base_send))
