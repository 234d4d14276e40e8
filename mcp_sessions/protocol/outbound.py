"""What a handler sends through: the SDK's channels to the client, each changed in one way.

A request has two, its own and its connection's.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.subscriptions import LISTEN_STREAM_METHODS

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.messages import publish_change
from mcp_sessions.protocol.client_requests import NEEDS, not_declared
from mcp_sessions.protocol.handlers import Request

Params = Mapping[str, Any] | None

logger = logging.getLogger("mcp_sessions.protocol")


def sent_through(ctx: Request, change: Callable[[Any], Any]) -> Request:
    """The same request for its handler, which sends through what `change` makes of the two channels."""
    session = copy.copy(ctx.session)
    session._connection = copy.copy(session._connection)
    session._connection.outbound = change(session._connection.outbound)
    session._request_outbound = change(session._request_outbound)
    return replace(ctx, session=session)


class Outbound:
    """A channel that does as another one does, but for what a subclass changes."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)


class Undeclared(Outbound):
    """To a client that declared no capability for requests."""

    async def send_raw_request(
        self, method: str, params: Params, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        if method in NEEDS:
            raise not_declared(method, NEEDS[method])
        return dict(await self._channel.send_raw_request(method, params, opts))


class Publishing(Outbound):
    """Publishes changes to all clients that listen, wherever they do.

    In 2026-07-28 a client hears of changes on no other stream. A tool's author sends them as in earlier
    revisions, to the client whose call is served: `ctx.session.send_tool_list_changed()`, for one.
    """

    def __init__(self, channel: Any, endpoint: str) -> None:
        super().__init__(channel)
        self._endpoint = endpoint

    async def notify(self, method: str, params: Params, opts: CallOptions | None = None) -> None:
        if not await publish_if_change(self._endpoint, method, params):
            await self._channel.notify(method, params, opts)


async def publish_if_change(endpoint: str, method: str, params: Params) -> bool:
    """Publish a notification that tells of a change to the clients that listen; whether it does.

    What cannot be published is in the log.
    """
    if method not in LISTEN_STREAM_METHODS:
        return False
    try:
        await publish_change(endpoint, method, params)
    except StoreUnavailable as error:
        logger.warning("clients that listen are not notified of %s: %s", method, error)
    return True


class UntilLeft(Outbound):
    """As long as the sender of a call is there that goes on without it.

    After that what the call sends goes nowhere, and its requests fail.
    """

    def __init__(self, channel: Any, left: asyncio.Future[None]) -> None:
        super().__init__(channel)
        self._left = left

    async def send_raw_request(
        self, method: str, params: Params, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Raises NoBackChannelError as soon as the sender has left."""
        answer = asyncio.ensure_future(self._channel.send_raw_request(method, params, opts))
        try:
            await asyncio.wait({answer, self._left}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise NoBackChannelError(method)
            return dict(answer.result())
        finally:
            answer.cancel()

    async def notify(self, method: str, params: Params, opts: CallOptions | None = None) -> None:
        if not self._left.done():
            await self._channel.notify(method, params, opts)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if not self._left.done():
            await self._channel.progress(progress, total, message)
