"""The hub: the door to what a process has open and running, and to what it hears of others.

Everything goes through the store; what happens to be in this process takes the short way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from django.utils import timezone

from mcp_sessions import jsonrpc
from mcp_sessions.announcing import announce
from mcp_sessions.backpressure import hurry_all
from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.bell import Bell
from mcp_sessions.delivery.calls import Calls
from mcp_sessions.delivery.connections import Connections
from mcp_sessions.delivery.follower import Closing, Notice
from mcp_sessions.delivery.inboxes import Inboxes, Message
from mcp_sessions.delivery.orphans import Orphans
from mcp_sessions.delivery.patience import patiently
from mcp_sessions.delivery.poller import Poller
from mcp_sessions.delivery.questions import Questions
from mcp_sessions.delivery.topics import Topics
from mcp_sessions.delivery.workers import Worker
from mcp_sessions.delivery.writer import STORED, Writer
from mcp_sessions.exceptions import DuplicateIdentifier
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import (
    MESSAGE,
    WORKER_LOST,
    Append,
    BatchItem,
    Event,
    Inbound,
    Placed,
    Send,
    StreamKind,
    StreamRecord,
    Taken,
    Takeover,
)
from mcp_sessions.runtime import Phase, Runtime, current
from mcp_sessions.security.rotation import current_id
from mcp_sessions.signals import connection_closed
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

STOP_SECONDS: Final = 5.0
"""How long a stopping process waits for calls that were cancelled to say so in their streams."""


class Hub:
    """One per process; every method runs on the runtime's loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._bell = Bell(runtime, self._on_news)
        self._writer = Writer(runtime, self._on_stored, self._taking)
        self._inboxes = Inboxes(
            runtime, self.listen, self._bell.ring, self._writer.put, self._on_message, self.end_session
        )
        self.topics = Topics(runtime, self.listen, self._bell.ring)
        self._worker = Worker(runtime, self._on_lost, self._on_inherited)
        self._poller = Poller(runtime, self._bell, self._is_waiting, self._on_news, self._look_around)
        self.calls = Calls(runtime, self._inboxes, self._check_quiet)
        self.questions = Questions(runtime, self._inboxes)
        self.connections = Connections(
            runtime, self._inboxes, self._worker, self._check_quiet, self._on_moved
        )
        self._orphans = Orphans(runtime, self._worker, self.calls, self._writer)
        self._is_quiet = asyncio.Event()
        self._draining: asyncio.Future[None] | None = None
        runtime.at_shutdown(Phase.DRAIN, self.drain)

    @property
    def worker_name(self) -> str:
        """What this process calls itself now; others know it once it reads or writes a stream."""
        return self._worker.name

    async def get_worker_name(self) -> str:
        """The same, once the others know it. Raises StoreUnavailable."""
        return await self._worker.get_name()

    def listen(self) -> None:
        """Hear of other processes from now on, whenever something here waits for it."""
        self._bell.listen()
        self._poller.start()

    # -- streams that are written here -----------------------------------------------------

    async def open(
        self, session_key: str, kind: StreamKind, ids: Sequence[jsonrpc.RequestId]
    ) -> StreamRecord:
        """A new stream for the calls with these request ids, which is this worker's. Raises SessionEnded."""
        name = new_stream_name()
        self.calls.streams.add(name)
        try:
            return await patiently(lambda: self._open(session_key, name, kind, ids), "a stream waits")
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
            # An attempt before this one was stored, and the news of it did not arrive.
            return (await get_store().afind_streams([name]))[name]

    async def append(
        self, stream: StreamRecord, name: str, data: str, *, ends: bool = False
    ) -> asyncio.Future[Placed]:
        """Queue an event; the future is done once it is stored, with no place if the stream takes no more."""
        return await self._writer.put(Append(stream.name, ((name, data),), ends, stream.writer))

    def leave(self, stream: StreamRecord) -> None:
        """Nobody writes to the stream any more: if it has not ended, it is ended as a lost worker's."""
        self.calls.streams.discard(stream.name)

    async def watch_over(self) -> None:
        """Be among the workers, who find out that one of them died, and end what it has left."""
        await self._worker.get_name()
        self._orphans.look()

    # -- messages to a session -----------------------------------------------------------------

    async def send(self, session_key: str, name: str, data: str, **how: Any) -> asyncio.Future[Placed]:
        """Queue an event for a session's GET streams; `how` is the rest of a Send."""
        return await self._writer.put(Send(session_key, name, data, **how))

    async def send_message(self, session_key: str, message: str) -> asyncio.Future[Placed]:
        """Send a message, as JSON text, on the newest GET stream; it waits there if none is open."""
        return await self.send(session_key, MESSAGE, message)

    async def notice(self, session_key: str, notice: Notice) -> None:
        """Tell the guide's clients of this session, wherever they are connected, what is not stored."""
        told = {"name": notice.name, "fields": notice.fields}
        await self._inboxes.post(session_key, {"notice": told})

    async def rung(self) -> None:
        """Wait until other processes were told what this one has stored."""
        await self._bell.flush()

    def session_has_rotated(self, session_key: str) -> None:
        """The session has another id. Every process that has its streams reads the session again."""
        self._inboxes.ring(session_key)

    # -- endings -------------------------------------------------------------------------------

    def end_session(self, session_key: str, reason: str) -> None:
        """Close what the session has open here and cancel what it has running here."""
        self.calls.end_session(session_key, reason)
        self.connections.end_session(session_key, reason)

    async def sessions_have_ended(self, reasons: Mapping[str, str]) -> None:
        """The same for the sessions with these keys, and have the other processes look."""
        for session_key, reason in reasons.items():
            self.end_session(session_key, reason)
        self._bell.ring(reasons)
        await self.rung()

    async def drain(self) -> None:
        """Bring this process to rest, once, whoever asks for it.

        Streams close, calls get DRAIN_SECONDS to finish, the rest are told that their worker is
        gone, and what waits is stored.
        """
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())
        await asyncio.shield(self._draining)

    async def _drain(self) -> None:
        self._runtime.begin_drain()
        hurry_all()
        # A reply stays open while its call runs here: a client that came back would find nobody yet.
        self.connections.drain(but=self.calls.streams)
        await self._until_quiet(app_settings.DRAIN_SECONDS)
        self.calls.stop("The server stopped before the call was finished: its outcome is unknown")
        # What they say goes out first.
        await self._until_quiet(STOP_SECONDS)
        self.calls.give_up()
        self.connections.drain()
        if not await self._until_quiet(STOP_SECONDS):
            busy = len(self.connections), len(self.calls)
            logger.warning("stopping while %d streams and the calls of %d sessions go on", *busy)
        await self._writer.flush(STOP_SECONDS)
        await self.connections.save()
        await self._worker.leave()
        await self._bell.flush()

    async def _until_quiet(self, seconds: float) -> bool:
        self._check_quiet()
        try:
            async with asyncio.timeout(seconds):
                await self._is_quiet.wait()
        except TimeoutError:
            return False
        return True

    def _check_quiet(self) -> None:
        if self.connections or self.calls:
            self._is_quiet.clear()
        else:
            self._is_quiet.set()

    # -- what is heard ---------------------------------------------------------------------------

    def _is_waiting(self) -> bool:
        return len(self._inboxes) > 0 or len(self.topics) > 0

    def _on_news(self, names: Iterable[str]) -> None:
        self.connections.look_again(names)
        self._inboxes.heard(names)
        self.topics.heard(names)

    def _on_message(self, session_key: str, message: Message) -> None:
        """A message of a session's inbox; what is not for this process is for another."""
        ((kind, told),) = message.items()
        if kind == "answer":
            self.questions.answer_here(session_key, jsonrpc.Response(**told))
        elif kind == "progress":
            self.questions.progress_here(session_key, told)
        elif kind == "cancel":
            self.calls.cancel_here(session_key, **told)
        elif kind == "notice":
            self.connections.notice(session_key, Notice(**told))
        elif kind == "rotated":
            self._runtime.spawn(self._tell_rotated(session_key), "rotated")
        elif kind == "close":
            self.connections.displace(**told)

    async def _tell_rotated(self, session_key: str) -> None:
        load = partial(get_store().aload_by_key, session_key)
        session = await patiently(load, f"the client of session {session_key} gets its new id later")
        if session is not None:
            self.connections.rotate(session, current_id(session))

    def _on_lost(self) -> None:
        """Others have ended, or will end, what this worker has begun: nothing it sends is stored."""
        self.calls.lose(WORKER_LOST)
        self.connections.close_all(Closing.LOST)

    def _on_inherited(self, inherited: Sequence[Takeover]) -> None:
        """What lost workers wrote is this one's to end, and what they read is read no more."""
        self._orphans.look()
        left = [stream for each in inherited for stream in each.left]
        if left:
            self._runtime.spawn(self._tell_lost(left), "lost")

    async def _tell_lost(self, streams: Sequence[StreamRecord]) -> None:
        for stream in streams:
            if (session := await get_store().aload_by_key(stream.session_key)) is not None:
                announce(connection_closed, session, "lost", stream=stream)

    async def _look_around(self) -> None:
        """Compare all that is open here with the store, by one question."""
        self._orphans.look()
        followers = {follower.stream.name: follower for follower in self.connections}
        found = await get_store().afind_streams([*followers, *self._inboxes.keys()])
        self._inboxes.compare(found)
        await self.connections.compare(followers, found)
        before = timezone.now() - timedelta(seconds=app_settings.EVENT_SECONDS)
        await get_store().adelete_unreachable(before, app_settings.PURGE_BATCH)

    def _taking(self, item: BatchItem) -> BatchItem:
        """Connections here that wait for nothing but this take it when it is stored, not in another step."""
        if not isinstance(item, Send):
            return item
        idle = [each.stream for each in self.connections.of_session(item.session) if each.is_idle]
        return replace(item, readers=tuple((stream.name, stream.reader) for stream in idle))

    def _on_stored(self, item: BatchItem, placed: Placed) -> None:
        if isinstance(item, Inbound):
            if placed:
                self._inboxes.ring(item.session)
            return
        if placed == STORED:
            self._on_stored_somewhere(item)
            return
        events = item.events if isinstance(item, Append) else ((item.name, item.data),)
        is_end = isinstance(item, Append) and item.ends
        for place in placed:
            stream, position = place
            if (follower := self.connections.get(stream)) is not None:
                found = [Event(position + i, *event) for i, event in enumerate(events)]
                follower.offer(found, is_taken=isinstance(place, Taken))
                if is_end:
                    follower.end_at(position + max(len(events) - 1, 0))
        self._bell.ring(stream for stream, _ in placed)

    def _on_moved(self, streams: Sequence[str]) -> None:
        """What waited in a stream that was left is in these now, which somebody reads."""
        self.connections.look_again(streams)
        self._bell.ring(streams)

    def _on_stored_somewhere(self, item: Append | Send) -> None:
        if isinstance(item, Append):
            names = [item.stream]
        else:
            names = [follower.stream.name for follower in self.connections.of_session(item.session)]
        self.connections.look_again(names)
        self._bell.ring(names)


def get_hub() -> Hub:
    """The process's hub."""
    return current().service(Hub)
