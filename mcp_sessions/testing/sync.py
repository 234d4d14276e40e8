"""The same client for synchronous tests: the app and the client run on a loop in a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final

from anyio.from_thread import BlockingPortal, BlockingPortalProvider

from mcp_sessions.testing.clients import ConnectedClient, connect

_loop: Final = BlockingPortalProvider()
"""All clients that are connected at a time share one loop: the app runs on one."""


class SyncClient:
    """A ConnectedClient whose methods are called and not awaited: `client.call_tool("name", {…})`."""

    def __init__(self, portal: BlockingPortal, client: ConnectedClient) -> None:
        self._portal, self._client = portal, client

    def run(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **options: Any) -> Any:
        """Await a function of yours on the client's loop."""
        return self._portal.call(partial(function, *args, **options))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if iscoroutinefunction(found):
            return partial(self.run, found)
        return partial(self._portal.call, found) if callable(found) else found


@contextmanager
def connect_sync(path: str | None = None, **options: Any) -> Iterator[SyncClient]:
    """connect() for synchronous code, Django's TransactionTestCase for instance."""
    with (
        _loop as portal,
        portal.wrap_async_context_manager(connect(path, **options)) as client,
    ):
        yield SyncClient(portal, client)
