"""The hub puts together what a process has open and running, and is the way in to all of it.

Everything goes through the store. What is in this process anyway is handed over right after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from mcp_sessions import jsonrpc
from mcp_sessions.delivery.activity import Activity
from mcp_sessions.delivery.calls import Calls
from mcp_sessions.delivery.changes import Changes
from mcp_sessions.delivery.connections import Connections
from mcp_sessions.delivery.drain import Drain
from mcp_sessions.delivery.failover import Failover
from mcp_sessions.delivery.follower import Notice
from mcp_sessions.delivery.handover import Handover
from mcp_sessions.delivery.inbox_messages import InboxMessages
from mcp_sessions.delivery.inboxes import Inboxes
from mcp_sessions.delivery.notifications import Notifications
from mcp_sessions.delivery.pending_requests import PendingRequests
from mcp_sessions.delivery.retry import with_retry
from mcp_sessions.delivery.topics import Topics
from mcp_sessions.delivery.workers import Worker
from mcp_sessions.delivery.writer import Writer
from mcp_sessions.exceptions import DuplicateIdentifier
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import MESSAGE, Append, Placed, Send, StreamKind, StreamRecord
from mcp_sessions.runtime import Runtime, current
from mcp_sessions.stores import get_store


class Hub:
    """One per process; every method runs on the runtime's loop."""

    def __init__(self, runtime: Runtime) -> None:
        self.activity = Activity()
        self._notifications = Notifications(runtime)
        self._worker = Worker(runtime)
        self._writer = Writer(runtime)
        self._inboxes = Inboxes(runtime, self._notifications, self._writer)
        self.topics = Topics(runtime, self._notifications)
        self.calls = Calls(runtime, self._inboxes, self.activity)
        self.pending_requests = PendingRequests(runtime, self._inboxes)
        self.connections = Connections(
            runtime, self._inboxes, self._worker, self.activity, self._notifications
        )
        self._messages = InboxMessages(runtime, self.calls, self.pending_requests, self.connections)
        self._failover = Failover(runtime, self._worker, self.calls, self.connections, self._writer)
        self._name_listeners()
        self._drain = Drain(
            runtime,
            self.activity,
            self.calls,
            self.connections,
            self._writer,
            self._worker,
            self._notifications,
        )

    def _name_listeners(self) -> None:
        """Events go up to these listeners, which `protocols` describes. All else goes down."""
        self._writer.listener = Handover(self.connections, self._inboxes, self._notifications)
        self._inboxes.listener = self._messages
        self._worker.listener = self._failover
        self._notifications.listener = Changes(self.connections, self._inboxes, self.topics, self._failover)

    @property
    def worker_name(self) -> str:
        """What this process calls itself now; others know it once it reads or writes a stream."""
        return self._worker.name

    async def get_worker_name(self) -> str:
        """The same, once the others know it. Raises StoreUnavailable."""
        return await self._worker.get_name()

    # -- streams that are written here -----------------------------------------------------

    async def open(
        self, session_key: str, kind: StreamKind, ids: Sequence[jsonrpc.RequestId]
    ) -> StreamRecord:
        """A new stream for the calls with these request ids, which is this worker's. Raises SessionEnded."""
        name = new_stream_name()
        self.calls.streams.add(name)
        try:
            return await with_retry(lambda: self._open(session_key, name, kind, ids), "a stream waits")
        except BaseException:
            self.calls.streams.discard(name)
            raise

    async def _open(
        self, session_key: str, name: str, kind: StreamKind, ids: Sequence[jsonrpc.RequestId]
    ) -> StreamRecord:
        worker = await self._worker.get_name()
        try:
            return await get_store().aopen_stream(session_key, name, kind, worker, ids)
        except DuplicateIdentifier:
            # An earlier attempt was stored, and its answer did not arrive.
            return (await get_store().afind_streams([name]))[name]

    async def append(
        self, stream: StreamRecord, name: str, data: str, *, ends: bool = False
    ) -> asyncio.Future[Placed]:
        """Queue an event; the future is done once it is stored, with no place if the stream takes no more."""
        return await self._writer.put(Append(stream.name, ((name, data),), ends, stream.writer))

    def leave(self, stream: StreamRecord) -> None:
        """No call writes to the stream any more. If it has not ended, it ends as a lost worker's."""
        self.calls.streams.discard(stream.name)

    async def join_workers(self) -> None:
        """Be among the workers, which find out that one of them is lost, and end what it has left."""
        await self._worker.get_name()
        self._failover.end_lost_calls()

    # -- messages to a session -----------------------------------------------------------------

    async def send(self, session_key: str, name: str, data: str, **how: Any) -> asyncio.Future[Placed]:
        """Queue an event for a session's GET streams; `how` is the rest of a Send."""
        return await self._writer.put(Send(session_key, name, data, **how))

    async def send_message(self, session_key: str, message: str) -> asyncio.Future[Placed]:
        """Send a message, as JSON text, on the newest GET stream; it waits there if none is open."""
        return await self.send(session_key, MESSAGE, message)

    async def notice(self, session_key: str, notice: Notice) -> None:
        """Send the guide's clients of this session a notice, whichever worker they are connected to."""
        content = {"name": notice.name, "fields": notice.fields}
        await self._inboxes.post(session_key, {"notice": content})

    async def flush_notifications(self) -> None:
        """Wait until other processes were notified of what this one has stored."""
        await self._notifications.flush()

    def session_has_rotated(self, session_key: str) -> None:
        """The session has another id. Every process that has its streams reads the session again."""
        self._inboxes.notify(session_key)

    # -- endings -------------------------------------------------------------------------------

    def end_session(self, session_key: str, reason: str) -> None:
        """Close what the session has open here and cancel what it has running here."""
        self._messages.on_end(session_key, reason)

    async def sessions_have_ended(self, reasons: Mapping[str, str]) -> None:
        """The same for the sessions with these keys, and have the other processes look."""
        for session_key, reason in reasons.items():
            self.end_session(session_key, reason)
        self._notifications.send(reasons)
        await self.flush_notifications()

    async def drain(self) -> None:
        """Bring this process to rest, once, whoever asks for it."""
        await self._drain.run()


def get_hub() -> Hub:
    """The process's hub."""
    return current().service(Hub)
