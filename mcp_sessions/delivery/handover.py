"""Events that were just stored: connections here are offered them, other processes are notified."""

from __future__ import annotations

from dataclasses import replace

from mcp_sessions.delivery.connections import Connections
from mcp_sessions.delivery.inboxes import Inboxes
from mcp_sessions.delivery.notifications import Notifications
from mcp_sessions.delivery.writer import STORED
from mcp_sessions.records import Append, BatchItem, Event, Inbound, Placed, Send, Taken


class Handover:
    """The writer's listener."""

    def __init__(self, connections: Connections, inboxes: Inboxes, notifications: Notifications) -> None:
        self._connections = connections
        self._inboxes = inboxes
        self._notifications = notifications

    def prepare(self, item: BatchItem) -> BatchItem:
        """Connections here that wait for nothing but this take it when it is stored, not in another step."""
        if not isinstance(item, Send):
            return item
        idle = [each.stream for each in self._connections.of_session(item.session) if each.is_idle]
        return replace(item, readers=tuple((stream.name, stream.reader) for stream in idle))

    def on_stored(self, item: BatchItem, placed: Placed) -> None:
        if isinstance(item, Inbound):
            if placed:
                self._inboxes.notify(item.session)
        elif placed == STORED:
            self._notify(self._possible_streams(item))
        else:
            self._hand_over(item, placed)

    def _hand_over(self, item: Append | Send, placed: Placed) -> None:
        events = item.events if isinstance(item, Append) else ((item.name, item.data),)
        is_end = isinstance(item, Append) and item.ends
        for place in placed:
            stream, position = place
            if (follower := self._connections.get(stream)) is not None:
                found = [Event(position + i, *event) for i, event in enumerate(events)]
                follower.offer(found, is_taken=isinstance(place, Taken))
                if is_end:
                    follower.end_at(position + max(len(events) - 1, 0))
            else:
                # It may be about to be read here.
                self._connections.look_again([stream])
        self._notifications.send(stream for stream, _ in placed)

    def _possible_streams(self, item: Append | Send) -> list[str]:
        """Of an event of which it is only known that it was stored."""
        if isinstance(item, Append):
            return [item.stream]
        return [follower.stream.name for follower in self._connections.of_session(item.session)]

    def _notify(self, streams: list[str]) -> None:
        self._connections.look_again(streams)
        self._notifications.send(streams)
