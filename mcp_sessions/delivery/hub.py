"""The hub: which streams are open here, who reads them, which calls run, which answers are awaited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from mcp_sessions import jsonrpc
from mcp_sessions.conf import AppSettings, app_settings
from mcp_sessions.delivery.follower import Closing, Follower, Notice, limit_notice
from mcp_sessions.delivery.writer import Writer
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import MESSAGE, Append, Event, SessionRecord, StreamKind, StreamRecord
from mcp_sessions.runtime import Phase, Runtime, current
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

STOP_SECONDS: Final = 5.0
"""How long a stopping process waits for calls that were cancelled to say so in their streams."""


OnProgress = Callable[[float, float | None, str | None], Awaitable[None]]
Asked = tuple["asyncio.Future[jsonrpc.Response]", OnProgress | None]


class RunningCall(Protocol):
    """A call of a client that has not been answered yet."""

    def cancel(self, message: str, reason: str) -> None:
        """Stop it; its client is told the message, and the reason in the error's data."""


class Hub:
    """One per process; every method runs on the runtime's loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._followers: dict[str, Follower] = {}
        self._of_session: dict[str, dict[str, Follower]] = {}
        self._calls: dict[str, dict[jsonrpc.RequestId, RunningCall]] = {}
        self._is_quiet = asyncio.Event()
        self._draining: asyncio.Future[None] | None = None
        self._asked: dict[tuple[str, str], Asked] = {}
        self._delivered: dict[str, int] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._writer = Writer(get_store, lambda: self._spawn_writer(), self._on_stored)
        runtime.at_shutdown(Phase.DRAIN, self.drain)

    # -- streams -------------------------------------------------------------------------

    async def open(self, session_key: str, kind: StreamKind) -> StreamRecord:
        """A new stream of the session. Raises SessionEnded."""
        return await get_store().aopen_stream(session_key, new_stream_name(), kind)

    async def append(
        self, stream: str, name: str, data: str, *, ends: bool = False
    ) -> asyncio.Future[int | None]:
        """Queue an event; the future has its position once it is stored, None if the stream had ended."""
        return await self._writer.put(Append(stream, ((name, data),), ends))

    async def end(self, stream: str) -> None:
        """End a stream without another event."""
        await (await self._writer.put(Append(stream, (), ends=True)))

    def follow(self, stream: StreamRecord, after: int, session: SessionRecord) -> Follower:
        """Read a stream from a position on; an earlier connection that reads it is closed."""
        if (earlier := self._followers.get(stream.name)) is not None:
            earlier.close(Closing.REPLACED)
        follower = Follower(get_store(), stream, after, session.dialect, self._on_detach)
        self._followers[stream.name] = follower
        # Reinserted at the end: the newest connection is the last one.
        siblings = self._of_session.setdefault(stream.session_key, {})
        siblings.pop(stream.name, None)
        siblings[stream.name] = follower
        if stream.kind == "get":
            self._make_room(session)
        if self._ticker is None:
            self._ticker = self._runtime.spawn(self._tick(), "heartbeat")
        return follower

    async def follow_new(self, session: SessionRecord) -> Follower:
        """Open a GET stream and read it, beginning with what waits in the session's closed ones."""
        stream = await self.open(session.key, "get")
        return await self._catch_up(self.follow(stream, 0, session))

    async def follow_again(self, session: SessionRecord, name: str, after: int) -> Follower | None:
        """Read one of the session's streams on from a position; None if it has no such place."""
        stream = await get_store().afind_stream(session.key, name)
        if stream is None or after > stream.position:
            return None
        return await self._catch_up(self.follow(stream, after, session))

    def open_streams(self, session_key: str, dialect: str | None = None) -> list[Follower]:
        """The session's GET streams that are being read here, oldest first."""
        return [
            each
            for each in self._of_session.get(session_key, {}).values()
            if each.stream.kind == "get" and each.closing is None and dialect in (None, each.dialect)
        ]

    def _make_room(self, session: SessionRecord) -> None:
        """Close the session's oldest GET streams down to the limit; the one just opened is the newest."""
        limit = AppSettings(session.server).MAX_CONNECTIONS_PER_SESSION
        if limit is None:
            return
        for follower in self.open_streams(session.key)[:-limit]:
            follower.notify(limit_notice())
            follower.close(Closing.LIMIT)

    # -- messages to a session -----------------------------------------------------------

    async def send_message(self, session_key: str, message: str) -> asyncio.Future[int | None]:
        """Send a message, as JSON text, on the newest GET stream; it waits there if none is open."""
        return await self.append(await self._newest(session_key), MESSAGE, message)

    async def send_event(
        self, session_key: str, name: str, data: str
    ) -> Sequence[asyncio.Future[int | None]]:
        """Send a named session event to every open GET stream; it waits in the newest if none is open."""
        names = [each.stream.name for each in self.open_streams(session_key)]
        names = names or [await self._newest(session_key)]
        return [await self.append(each, name, data) for each in names]

    def notice(self, session_key: str, notice: Notice) -> None:
        """Tell the guide's clients of this session something that is not stored."""
        for follower in self.open_streams(session_key, "guide"):
            follower.notify(notice)

    async def _newest(self, session_key: str) -> str:
        if here := self.open_streams(session_key):
            return here[-1].stream.name
        stream = await get_store().anewest_stream(session_key, "get")
        stream = stream or await self.open(session_key, "get")
        # A client may have opened one meanwhile, and has looked for what waited already.
        here = self.open_streams(session_key)
        return here[-1].stream.name if here else stream.name

    # -- calls and questions -------------------------------------------------------------

    def register(self, session_key: str, request_id: jsonrpc.RequestId, call: RunningCall) -> None:
        self._calls.setdefault(session_key, {})[request_id] = call

    def unregister(self, session_key: str, request_id: jsonrpc.RequestId, call: RunningCall) -> None:
        calls = self._calls.get(session_key, {})
        if calls.get(request_id) is call:
            del calls[request_id]
        if not calls:
            self._calls.pop(session_key, None)
        self._look_around()

    def cancel(self, session_key: str, request_id: Any, reason: str) -> None:
        """Cancel a running call; an unknown or finished one is nobody's error (transport.md 3)."""
        if not isinstance(request_id, str | int) or isinstance(request_id, bool):
            return
        # 1 and True, or 1 and 1.0, are one key of a dict; 1 and "1" are two, as they should be.
        if (call := self._calls.get(session_key, {}).get(request_id)) is not None:
            call.cancel(f"Request cancelled{f': {reason}' if reason else ''}", "cancelled")

    def ask(
        self, session_key: str, request_id: str, on_progress: OnProgress | None = None
    ) -> asyncio.Future[jsonrpc.Response]:
        """Wait for the client's answer to a request of ours; discard() it when done."""
        asked: asyncio.Future[jsonrpc.Response] = self._runtime.loop.create_future()
        self._asked[session_key, request_id] = (asked, on_progress)
        return asked

    def discard(self, session_key: str, request_id: str) -> None:
        self._asked.pop((session_key, request_id), None)

    def answer(self, session_key: str, response: jsonrpc.Response) -> bool:
        """Hand the client's answer to whoever asked. False, and harmless, if nobody waits for it."""
        asked, _ = self._asked_for(session_key, response.id)
        if asked is None or asked.done():
            return False
        asked.set_result(response)
        return True

    def progress(self, session_key: str, params: Mapping[str, Any]) -> None:
        """Hand the client's progress on a request of ours to whoever asked for it."""
        _, on_progress = self._asked_for(session_key, params.get("progressToken"))
        if on_progress is not None and isinstance(params.get("progress"), int | float):
            # A tool's own function: it may take its time, or fail, and the client's POST is not to.
            self._runtime.spawn(_report(on_progress, params), "progress")

    def _asked_for(self, session_key: str, request_id: object) -> Asked | tuple[None, None]:
        found = self._asked.get((session_key, request_id)) if isinstance(request_id, str) else None
        return found or (None, None)

    # -- endings -------------------------------------------------------------------------

    def end_session(self, session_key: str, reason: str) -> None:
        """Close what the session has open here and cancel what it has running."""
        for call in list(self._calls.get(session_key, {}).values()):
            call.cancel(f"The session has ended ({reason})", "session_ended")
        self.notice(session_key, Notice("session-expired", {"reason": reason}))
        for follower in list(self._of_session.get(session_key, {}).values()):
            follower.close(Closing.SESSION)

    def end_at(self, stream: str, position: int) -> None:
        """Tell who reads the stream here that this position is its last."""
        if (follower := self._followers.get(stream)) is not None:
            follower.end_at(position)

    def disconnect(self, stream: str, why: Closing) -> None:
        """Close the connection that reads a stream; the stream goes on."""
        if (follower := self._followers.get(stream)) is not None:
            follower.close(why)

    def close_streams(self, kind: StreamKind) -> None:
        """Close the connections of all streams of a kind, so that their clients come back."""
        for follower in list(self._followers.values()):
            if follower.stream.kind == kind:
                follower.close(Closing.DRAINING)

    async def drain(self) -> None:
        """Bring this process to rest, once, whoever asks for it.

        Streams close, calls get DRAIN_SECONDS to finish, the rest are told that their worker is
        gone, and what waits is stored.
        """
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())
        await asyncio.shield(self._draining)

    async def _drain(self) -> None:
        # A reply stays open while its call runs: a client that came back would find nobody yet.
        self.close_streams("get")
        await self._until_quiet(app_settings.DRAIN_SECONDS)
        for calls in list(self._calls.values()):
            for call in list(calls.values()):
                call.cancel("The server stopped before the call was finished", "worker_lost")
        self.close_streams("post")
        if not await self._until_quiet(STOP_SECONDS):
            busy = len(self._followers), len(self._calls)
            logger.warning("stopping while %d streams and the calls of %d sessions go on", *busy)
        await self._writer.flush()
        await self._save_delivered()

    async def _until_quiet(self, seconds: float) -> bool:
        self._look_around()
        try:
            await asyncio.wait_for(self._is_quiet.wait(), seconds)
        except TimeoutError:
            return False
        return True

    # -- within --------------------------------------------------------------------------

    async def _catch_up(self, follower: Follower) -> Follower:
        """What happened before there was this follower."""
        try:
            if follower.stream.kind == "get":
                await self._take_over(follower)
            elif follower.stream.ended_at is None:
                await self._look_for_end(follower)
        except BaseException:
            # Its client has left meanwhile: what is sent to this stream must not count as read.
            follower.detach()
            raise
        return follower

    async def _look_for_end(self, follower: Follower) -> None:
        """The stream may have ended after it was found and before anybody followed it."""
        found = await get_store().afind_stream(follower.stream.session_key, follower.stream.name)
        if found is not None and found.ended_at is not None:
            follower.end_at(found.position)

    async def _take_over(self, follower: Follower) -> None:
        """Have what waits in the session's closed GET streams delivered on this one."""
        key = follower.stream.session_key
        # What was sent before there was this follower is still on its way to another stream.
        await self._writer.catch_up()
        await self._save_delivered()
        open_names = [each.stream.name for each in self.open_streams(key)]
        if await get_store().atake_over(key, follower.stream.name, open_names):
            follower.look_again()

    def _spawn_writer(self) -> None:
        self._runtime.spawn(self._writer.write(), "writer")

    def _on_stored(self, append: Append, position: int | None) -> None:
        follower = self._followers.get(append.stream)
        if follower is None or position is None:
            return
        numbered = [Event(position + i, name, data) for i, (name, data) in enumerate(append.events)]
        follower.offer(numbered)
        if append.ends:
            follower.end_at(numbered[-1].position if numbered else position)

    def _on_detach(self, follower: Follower) -> None:
        if self._followers.get(follower.stream.name) is follower:
            del self._followers[follower.stream.name]
            siblings = self._of_session[follower.stream.session_key]
            del siblings[follower.stream.name]
            if not siblings:
                del self._of_session[follower.stream.session_key]
        self._note_delivered(follower)
        self._look_around()
        if self._delivered and not self._runtime.draining:
            self._runtime.spawn(self._save_delivered(), "delivered")

    def _look_around(self) -> None:
        if not self._followers and not self._calls:
            self._is_quiet.set()
        else:
            self._is_quiet.clear()

    async def _tick(self) -> None:
        """Once per heartbeat: a keep-alive for every stream, and how far each was sent."""
        while self._followers:
            await asyncio.sleep(app_settings.HEARTBEAT_SECONDS)
            for follower in list(self._followers.values()):
                follower.beat()
                self._note_delivered(follower)
            await self._save_delivered()
        self._ticker = None

    def _note_delivered(self, follower: Follower) -> None:
        if follower.stream.kind == "get" and follower.position > follower.saved_position:
            follower.saved_position = self._delivered[follower.stream.name] = follower.position

    async def _save_delivered(self) -> None:
        waiting, self._delivered = self._delivered, {}
        if not waiting:
            return
        try:
            await get_store().amark_delivered(waiting)
        except StoreUnavailable as error:
            logger.warning("how far %d streams were sent is not stored yet: %s", len(waiting), error)
            self._delivered = {**waiting, **self._delivered}


async def _report(on_progress: OnProgress, params: Mapping[str, Any]) -> None:
    await on_progress(params["progress"], params.get("total"), params.get("message"))


def get_hub() -> Hub:
    """The process's hub."""
    return current().service(Hub)
