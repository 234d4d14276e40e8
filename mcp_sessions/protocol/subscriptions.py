"""`subscriptions/listen` of 2026-07-28, heard from every process.

The SDK serves the streams. It asks a bus for what has changed; ours carries changes between
processes, and notifies the clients of earlier revisions of the same ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, SubscriptionBus
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent, event_from_wire, event_to_notification
from mcp_types import SubscriptionsListenRequestParams, SubscriptionsListenResult

from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import get_hub
from mcp_sessions.messages import asend_notification_to_all, asend_resource_updated
from mcp_sessions.protocol.bounds import check_uri, past_limit
from mcp_sessions.runtime import Phase, Runtime, current

METHOD = "subscriptions/listen"


class Bus:
    """The SDK's SubscriptionBus for one endpoint, shared by all processes."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    async def publish(self, event: ServerEvent) -> None:
        """Tell the clients of every revision, whichever process they are connected to."""
        if isinstance(event, ResourceUpdated):
            await asend_resource_updated(event.uri, server=self._endpoint)
        else:
            method = event_to_notification(event, {}).method
            await asend_notification_to_all(method, server=self._endpoint)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        def hear(message: str) -> None:
            change = json.loads(message)
            if (event := event_from_wire(change["method"], change.get("params"))) is not None:
                listener(event)

        return get_hub().topics.subscribe(self._endpoint, hear)


class Listening(ListenHandler):
    """Serves `subscriptions/listen`, within the bounds of the settings."""

    def __init__(self, endpoint: str) -> None:
        # Each stream is a connection, and those are bounded by whoever accepts them.
        super().__init__(Bus(endpoint), max_subscriptions=sys.maxsize)
        self._options = AppSettings(endpoint)
        current().at_drain(self.close)

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        self._check(params.notifications.resource_subscriptions or [])
        return await super().__call__(ctx, params)

    def _check(self, uris: list[str]) -> None:
        limit = self._options.MAX_SUBSCRIPTIONS
        if limit is not None and len(uris) > limit:
            raise past_limit("subscription_limit", limit, "A request has at most {} subscriptions.")
        for uri in uris:
            check_uri(uri, self._options.MAX_URI_LENGTH)


def add(author: Any, low: Server[Any], endpoint: str, runtime: Runtime) -> SubscriptionBus | None:
    """Have a prepared copy of a server serve `subscriptions/listen` from every process.

    The bus that the author's calls to notify go to; None if the author has brought a bus, or has switched
    subscriptions off: both stay as they are.
    """
    entry = low.get_request_handler(METHOD)
    if entry is None and isinstance(author, MCPServer):
        return None
    if entry is not None:
        own = getattr(entry.handler, "_bus", None)
        if not isinstance(entry.handler, ListenHandler) or not isinstance(own, InMemorySubscriptionBus):
            return None
        _forward(own, endpoint, runtime)
    handler = Listening(endpoint)
    low.add_request_handler(METHOD, SubscriptionsListenRequestParams, handler)
    return Bus(endpoint)


def _forward(own: InMemorySubscriptionBus, endpoint: str, runtime: Runtime) -> None:
    """Pass on what the author publishes on a bus in memory, which no other process hears."""
    bus = Bus(endpoint)
    unsubscribe = own.subscribe(lambda event: _publish(bus, event, runtime))

    async def stop() -> None:
        unsubscribe()

    runtime.at_shutdown(Phase.RELEASE, stop)


def _publish(bus: Bus, event: ServerEvent, runtime: Runtime) -> None:
    runtime.submit(bus.publish(event))
