"""MAX_STREAMS_PER_CLIENT: how many streams one client may have open in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import RateLimited
from mcp_sessions.exchange import EventStream, Exchange, Reply
from mcp_sessions.records import principal_of
from mcp_sessions.refusals import report_refusal
from mcp_sessions.runtime import Runtime, current
from mcp_sessions.security.addresses import client_address

RETRY_SECONDS: Final = 30.0
"""Seconds that a client with too many must wait; when one of them closes is not known before."""

Release = Callable[[], None]


class OpenStreams:
    """How many each client has open here."""

    def __init__(self, _: Runtime) -> None:
        self._counts: Counter[str] = Counter()
        """Of the clients that have any."""

    def take(self, client: str, limit: int | None) -> Release | None:
        """Count one more; what gives it back, however often it is called. None if there are enough."""
        if limit is not None and self._counts[client] >= limit:
            return None
        self._counts[client] += 1
        return partial(self._release, client, iter([client]))

    def _release(self, client: str, held: Iterator[str]) -> None:
        if next(held, None) is None:
            return
        self._counts[client] -= 1
        if not self._counts[client]:
            del self._counts[client]


async def limit_streams(exchange: Exchange, serve: Callable[[], Awaitable[Reply]]) -> Reply:
    """Count the stream that `serve` opens, until it is closed. Raises RateLimited."""
    release, is_open = _take(exchange), False
    try:
        reply = await serve()
        chunks: Any = reply.chunks if isinstance(reply, EventStream) else None
        if is_open := hasattr(chunks, "on_closed"):
            chunks.on_closed = release
        return reply
    finally:
        if not is_open:
            release()


def _take(exchange: Exchange) -> Release:
    """Count a stream that is about to be opened; what its end calls. Raises RateLimited."""
    client = principal_of(exchange.endpoint, exchange.owner, client_address(exchange))
    limit = AppSettings(exchange.endpoint).MAX_STREAMS_PER_CLIENT
    release = current().service(OpenStreams).take(client, limit)
    if release is None:
        report_refusal(exchange, "rate_limit")
        raise RateLimited("streams", RETRY_SECONDS)
    return release
