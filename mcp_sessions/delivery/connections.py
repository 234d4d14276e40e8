"""The connections of this process: which streams are read here, how far, and who must close."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from django.utils import timezone

from mcp_sessions.background import Periodic
from mcp_sessions.conf import AppSettings, app_settings
from mcp_sessions.delivery.activity import Activity
from mcp_sessions.delivery.delivered import Delivered
from mcp_sessions.delivery.follower import Closing, Follower, Notice, Rotated, limit_notice
from mcp_sessions.delivery.inboxes import Inboxes
from mcp_sessions.delivery.notifications import Notifications
from mcp_sessions.delivery.workers import Worker
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import EndReason, SessionRecord, StreamRecord, instant
from mcp_sessions.runtime import Runtime
from mcp_sessions.signal_queue import queue_signal
from mcp_sessions.signals import connection_closed, connection_opened, session_limit_reached
from mcp_sessions.stores import get_store


class Connections:
    """The followers of this process, by stream and by session."""

    def __init__(
        self,
        runtime: Runtime,
        inboxes: Inboxes,
        worker: Worker,
        activity: Activity,
        notifications: Notifications,
    ) -> None:
        self._inboxes = inboxes
        self._worker = worker
        self._activity = activity
        self._notifications = notifications
        self._followers: dict[str, Follower] = {}
        self._of_session: dict[str, dict[str, Follower]] = {}
        self._delivered = Delivered(runtime, self._on_moved)
        self._displaced: dict[str, tuple[str, str, str, str]] = {}
        self._changed: set[str] = set()
        """The streams that were changed while they were being attached."""
        self._drained_but: Collection[str] | None = None
        self._keeping_alive = Periodic(
            runtime,
            "keep-alives",
            self._keep_alive,
            lambda: app_settings.HEARTBEAT_SECONDS,
            while_needed=lambda: self._followers,
        )

    def __len__(self) -> int:
        return len(self._followers)

    def __iter__(self) -> Iterator[Follower]:
        return iter(list(self._followers.values()))

    def follow(
        self, stream: StreamRecord, after: int, session: SessionRecord, *, is_behind: bool = True
    ) -> Follower:
        """Read a stream that is attached to this worker; an earlier connection here is closed."""
        if (earlier := self._followers.get(stream.name)) is not None:
            earlier.close(Closing.REPLACED)
        estranged = self._close_estranged
        follower = Follower(stream, after, session, self._detached, estranged, is_behind=is_behind)
        self._followers[stream.name] = follower
        self._delivered.is_back(stream)
        # Reinserted at the end: the newest connection is the last one.
        siblings = self._of_session.setdefault(stream.session_key, {})
        siblings.pop(stream.name, None)
        siblings[stream.name] = follower
        self._inboxes.hold(session)
        self._activity.begin()
        self._keeping_alive.start()
        self._close_drained(follower)
        return follower

    async def follow_new(self, session: SessionRecord) -> Follower:
        """Open a GET stream and read it, beginning with what waits in the session's closed ones."""
        follower = await self._follow(session, new_stream_name(), 0, is_new=True)
        assert follower is not None  # what was just opened is there
        return follower

    async def follow_again(self, session: SessionRecord, name: str, after: int) -> Follower | None:
        """Read one of the session's streams on from a position; None if it has no such place."""
        return await self._follow(session, name, after, is_new=False)

    async def _follow(
        self, session: SessionRecord, name: str, after: int, *, is_new: bool
    ) -> Follower | None:
        attaching = asyncio.ensure_future(self._attach(session, name, after, is_new=is_new))
        try:
            return await asyncio.shield(attaching)
        except asyncio.CancelledError:
            # Its client has left meanwhile: what is sent to this stream must not count as read.
            attaching.add_done_callback(_leave)
            raise

    async def _attach(
        self, session: SessionRecord, name: str, after: int, *, is_new: bool
    ) -> Follower | None:
        worker = await self._worker.get_name()
        options = AppSettings(session.server)
        try:
            async with self._delivered.attaching(name):
                try:
                    attached = await get_store().aattach(
                        session.key,
                        name,
                        worker,
                        after,
                        options.MAX_CONNECTIONS_PER_SESSION,
                        is_new=is_new,
                        keep=options.MAX_LEFT_STREAMS,
                    )
                except StoreUnavailable:
                    self._may_be_attached(worker, name, after)
                    raise
                if attached is None:
                    return None
                is_behind = not is_new or self._may_be_behind(attached.stream)
                follower = self.follow(attached.stream, after, session, is_behind=is_behind)
        finally:
            self._changed.discard(name)
            early = self._displaced.pop(name, None)
        if early is not None:
            self.displace(*early)
        if follower.stream.kind == "get":
            queue_signal(connection_opened, session, "get", stream=follower.stream)
        for displaced in attached.displaced:
            if displaced.why == "limit":
                queue_signal(session_limit_reached, session, "connections")
        if attached.displaced:
            self._inboxes.notify(session.key)
        return follower

    def _may_be_behind(self, stream: StreamRecord) -> bool:
        """Whether a new stream may have events. A process that holds no session may have missed a change."""
        return stream.position > 0 or stream.name in self._changed or not len(self._inboxes)

    def _may_be_attached(self, worker: str, name: str, after: int) -> None:
        """It is unknown whether this worker reads the stream now: nobody here does."""
        if name not in self._followers:
            self._delivered.note_left(worker, name, after)

    def get(self, stream: str) -> Follower | None:
        return self._followers.get(stream)

    def of_session(self, session_key: str) -> list[Follower]:
        return list(self._of_session.get(session_key, {}).values())

    def open_streams(self, session_key: str, dialect: str | None = None) -> list[Follower]:
        """The session's GET streams that are being read here, oldest first."""
        return [
            each
            for each in self.of_session(session_key)
            if each.stream.kind == "get" and each.closing is None and dialect in (None, each.session.dialect)
        ]

    def look_again(self, streams: Iterable[str]) -> None:
        for name in streams:
            if (follower := self._followers.get(name)) is not None:
                follower.look_again()
            elif self._delivered.is_attaching(name):
                self._changed.add(name)

    def _on_moved(self, streams: Sequence[str]) -> None:
        """What waited in a stream that was left is in these now, which somebody reads."""
        self.look_again(streams)
        self._notifications.send(streams)

    def disconnect(self, stream: str, why: Closing) -> None:
        """Close the connection that reads a stream, if it is here; the stream goes on."""
        if (follower := self._followers.get(stream)) is not None:
            follower.close(why)

    def notice(self, session_key: str, notice: Notice) -> None:
        """Tell the guide's clients of this session something that is not stored."""
        for follower in self.open_streams(session_key, "guide"):
            follower.notify(notice)

    def rotate(self, session: SessionRecord, session_id: str | None) -> None:
        """Send the owner's clients the session's new id. Close the streams that somebody else has opened.

        Without an id to send, the streams of the session guide's clients end.
        """
        for follower in self.of_session(session.key):
            if follower.session.owner != session.owner:
                # The owner's client comes back with its credential, and gets the new id then.
                follower.close(Closing.ROTATED)
        for follower in self.open_streams(session.key, "guide"):
            if follower.session.digest == session.digest:
                continue
            if session_id is not None:
                follower.rotate(Rotated(session, session_id))
                continue
            follower.notify(Notice("session-expired", {"reason": EndReason.ROTATED}))
            follower.close(Closing.SESSION)

    def end_session(self, session_key: str, reason: str) -> None:
        """Close its GET streams; a reply ends with the answer of its call, which was cancelled."""
        if reason == EndReason.REPLACED:
            self.notice(session_key, limit_notice("Another session took this one's place"))
        self.notice(session_key, Notice("session-expired", {"reason": reason}))
        for follower in self.of_session(session_key):
            if follower.stream.kind == "get":
                follower.close(Closing.SESSION)

    def displace(self, stream: str, reader: str, since: str, why: str) -> None:
        """Another connection took the place of one that was here since then, or is about to be."""
        follower = self._followers.get(stream)
        if self._delivered.is_attaching(stream):
            self._displaced[stream] = stream, reader, since, why
        if follower is None or (follower.stream.reader, instant(follower.stream.attached_at)) != (
            reader,
            since,
        ):
            return
        if why == "limit":
            follower.notify(limit_notice())
        follower.close(Closing.LIMIT if why == "limit" else Closing.REPLACED)

    def close_all(self, why: Closing) -> None:
        for follower in self:
            follower.close(why)

    def drain(self, but: Collection[str] = ()) -> None:
        """Close what is open here, and from now on whatever opens, except for these streams.

        A request that was accepted before may wait for the store, and open its stream much later.
        """
        self._drained_but = but
        for follower in self:
            self._close_drained(follower)

    def _close_drained(self, follower: Follower) -> None:
        if self._drained_but is not None and follower.stream.name not in self._drained_but:
            follower.close(Closing.DRAINING)

    async def compare(self, followers: Mapping[str, Follower], found: Mapping[str, StreamRecord]) -> None:
        """Have those read on whose streams stand otherwise in the store: what was not heard of is found."""
        for name, follower in followers.items():
            stream = found.get(name)
            if stream is None or stream.position > follower.position or stream.ended_at is not None:
                follower.look_again()
            elif stream.reader != follower.stream.reader:
                await self._close_estranged(follower)
        before = timezone.now() - timedelta(seconds=app_settings.EVENT_SECONDS)
        keep, size = app_settings.MAX_EVENTS, app_settings.MAX_EVENT_BYTES
        await get_store().atrim(list(followers), keep, before, size)

    async def _close_estranged(self, follower: Follower) -> None:
        """Its stream is not read by this worker any more, or not under this name."""
        stream = follower.stream
        found = (await get_store().afind_streams([stream.name])).get(stream.name)
        # Why, a message that was stored with it may say.
        await self._inboxes.catch_up([stream.session_key])
        follower.close(Closing.REPLACED if found is not None and found.reader else Closing.LOST)

    async def save(self) -> None:
        """Store how far each stream was sent, and which were left."""
        await self._delivered.save()

    def _detached(self, follower: Follower) -> None:
        stream = follower.stream
        if self._followers.get(stream.name) is follower:
            del self._followers[stream.name]
            siblings = self._of_session[stream.session_key]
            del siblings[stream.name]
            if not siblings:
                del self._of_session[stream.session_key]
            self._left(follower)
        if stream.kind == "get" and follower.closing is not Closing.LOST:
            # For a worker that was declared lost, the one that takes over sends the signal.
            queue_signal(connection_closed, follower.session, follower.reason, stream=stream)
        self._inboxes.release(stream.session_key)
        self._activity.end()

    def _left(self, follower: Follower) -> None:
        """Whose stream has ended was given up with it, unless another connection came for it."""
        stream = follower.stream
        if not (follower.has_ended and stream.reader == stream.writer):
            self._delivered.note(follower, is_leaving=True)

    async def _keep_alive(self) -> None:
        """A keep-alive for every stream, and how far replies were sent. Of GET streams that is stored."""
        for follower in self:
            follower.keep_alive()
            if follower.position > follower.saved_position and follower.stream.kind != "get":
                self._delivered.note(follower)


def _leave(attaching: asyncio.Task[Follower | None]) -> None:
    if not attaching.cancelled() and attaching.exception() is None and (follower := attaching.result()):
        follower.detach()
