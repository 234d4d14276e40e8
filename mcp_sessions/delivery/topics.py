"""Topics: messages to every process that belong to no session, such as a change of a server's tools.

A message is published through the store, as a name among its notifications. Processes that listen learn of
it as they learn of streams: from the channel layer at once, or from the poller.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote, unquote

from mcp_sessions.delivery.notifications import Notifications
from mcp_sessions.delivery.retry import with_retry
from mcp_sessions.identifiers import new_token
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

Listener = Callable[[str], None]

MARK: Final = "@"
"""Begins the name of a message; names of streams and keys of sessions begin otherwise."""
SEEN_SECONDS: Final = 180.0
"""Wake-ups and the poller bring the same message; the poller at most this much later."""


class Topics:
    """Listeners of this process, by topic. Each message reaches each of them once."""

    def __init__(self, runtime: Runtime, notifications: Notifications) -> None:
        self._loop = runtime.loop
        self._notifications = notifications
        self._listeners: dict[str, dict[object, Listener]] = {}
        self._seen: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Have `listener` called with each message from now on; what unsubscribes it."""
        self._notifications.listen()
        token = object()
        self._listeners.setdefault(topic, {})[token] = listener

        def unsubscribe() -> None:
            if (listeners := self._listeners.get(topic)) is not None:
                listeners.pop(token, None)
                if not listeners:
                    del self._listeners[topic]

        return unsubscribe

    async def publish(self, topic: str, message: str) -> None:
        """Send a message to every process, this one too. Raises StoreUnavailable."""
        name = MARK.join(("", quote(topic, safe=""), quote(message, safe=""), new_token()))
        self.heard([name])
        await with_retry(lambda: get_store().anotify([name]), "a message to every process waits")
        self._notifications.send([name])

    def heard(self, names: Iterable[str]) -> None:
        """Hand on the messages among these names that were not heard before."""
        if not self._listeners:
            return
        for name in names:
            if name.startswith(MARK) and name not in self._seen:
                self._remember(name)
                self._deliver(name)

    def _remember(self, name: str) -> None:
        now = self._loop.time()
        self._seen[name] = now
        # They are in the order in which they were heard.
        while now - self._seen[oldest := next(iter(self._seen))] >= SEEN_SECONDS:
            del self._seen[oldest]

    def _deliver(self, name: str) -> None:
        _, topic, message, _ = name.split(MARK)
        for listener in list(self._listeners.get(unquote(topic), {}).values()):
            try:
                listener(unquote(message))
            except Exception:
                # Whatever one listener raises, the others hear of it, and so do other processes.
                logger.exception("a listener of %s failed", unquote(topic))
