"""One connection's reading of one stream: what was missed from the store, the rest as it comes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.retry import RETRY_SECONDS
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.records import Event, Reading, SessionRecord, StreamRecord
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

READ_LIMIT: Final = 200
BUFFERED: Final = 500
"""Events a follower holds in memory for a slow client, and no more than BUFFER_BYTES of them.

What comes on top it reads from the store.
"""


class Closing(Enum):
    """Why a follower stopped before its stream ended."""

    REPLACED = "the stream is being read by a newer connection"
    LIMIT = "the session has too many open streams"
    POLLING = "the client was asked to come back"
    DRAINING = "the server is stopping"
    SESSION = "the session has ended"
    TRIMMED = "what comes next was deleted"
    ROTATED = "the session was given to another owner"
    REVOKED = "its credential is not valid any more"
    LOST = "this worker was declared lost"
    STALLED = "its client takes nothing"
    DETACHED = "the connection is gone"


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing happened for a while: time for a keep-alive."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A session event that is not stored, because it names the session: the connection adds its id."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rotated:
    """The session has another id from here on."""

    session: SessionRecord
    session_id: str = field(repr=False)


def warning_notice(seconds: float) -> Notice:
    return Notice(
        "session-warning", {"expires_in_seconds": round(seconds), "message": "Session will expire soon"}
    )


def limit_notice(message: str = "Maximum connections per session reached") -> Notice:
    return Notice("session-limit", {"message": message})


def revoked_notice() -> Notice:
    return Notice("error", {"error": "invalid_token", "message": "Your login is not valid any more."})


Item = Event | Notice | Rotated | KeepAlive
KEEP_ALIVE: Final = KeepAlive()


class Follower:
    """Reads a stream from a position to its end, across whatever happens meanwhile.

    It is offered what this process stored, in order; whatever it was not offered, or had no room
    for, it reads from the store. It ends when the stream has ended and was read to the end, or
    when it is closed.
    """

    def __init__(
        self,
        stream: StreamRecord,
        after: int,
        session: SessionRecord,
        on_detach: Callable[[Follower], None],
        on_estranged: Callable[[Follower], Awaitable[None]] | None = None,
        *,
        is_behind: bool = True,
    ) -> None:
        """It is not `is_behind` if nothing can be in the store yet that it has not sent."""
        self.stream = stream
        self.session = session
        self.position = after
        self.saved_position = max(after, stream.delivered)
        self.closing: Closing | None = None
        self.on_closing: Callable[[], None] | None = None
        """Called when this closes, so that the sender of what it reads comes to an end."""
        self.push_keep_alive: Callable[[], bool] | None = None
        """Sends a keep-alive at once, if it can."""
        self._is_detached = False
        self._on_detach = on_detach
        self._on_estranged = on_estranged
        self._buffer: deque[Event] = deque()
        self._size = 0
        self._notices: deque[Notice | Rotated] = deque()
        self._is_behind = is_behind
        self._keep_alive_due = False
        self._end: int | None = None
        self._signal = asyncio.Event()
        self._is_waiting = False

    @property
    def is_idle(self) -> bool:
        """Whether this reads a GET stream, has sent all there is, and waits for the next event."""
        is_done = self._is_waiting and not self._signal.is_set() and self.closing is None
        return is_done and self.stream.kind == "get"

    def offer(self, events: Iterable[Event], *, is_taken: bool = False) -> None:
        """Take events that were just stored. Those of a GET stream must be taken from the store first."""
        if self.stream.kind == "get" and not is_taken:
            self.look_again()
            return
        for event in events:
            self._buffer.append(event)
            self._size += len(event.data)
        if len(self._buffer) > BUFFERED or self._size > app_settings.BUFFER_BYTES:
            self._buffer.clear()
            self._size = 0
            self._is_behind = True
        self._signal.set()

    def end_at(self, position: int) -> None:
        """The stream has ended with this position."""
        self._end = position
        self._signal.set()

    @property
    def has_ended(self) -> bool:
        """Whether the stream is known to have ended."""
        return self._end is not None

    @property
    def reason(self) -> str:
        """Why the connection is over, in a word."""
        return "client" if self.closing in (None, Closing.DETACHED) else self.closing.name.lower()

    def look_again(self) -> None:
        """Something was stored, or may have been, that is not offered."""
        self._is_behind = True
        self._signal.set()

    def notify(self, notice: Notice) -> None:
        self._notices.append(notice)
        self._signal.set()

    def rotate(self, rotated: Rotated) -> None:
        """Go on under the session's new id."""
        self.session = rotated.session
        self._notices.append(rotated)
        self._signal.set()

    def keep_alive(self) -> None:
        is_resting = self._is_waiting and not self._signal.is_set() and self.closing is None
        if is_resting and self.push_keep_alive is not None and self.push_keep_alive():
            return
        self._keep_alive_due = True
        self._signal.set()

    def close(self, why: Closing) -> None:
        """Stop reading, after what was already offered and noticed; after ROTATED, at once."""
        if self.closing is None:
            self.closing = why
            if self.on_closing is not None:
                self.on_closing()
        self._signal.set()

    async def items(self) -> AsyncGenerator[Item, None]:
        """Everything behind `position`, one by one; what was yielded counts as delivered at the next step."""
        try:
            while True:
                for event in await self._next_events():
                    yield event
                    self.position = event.position
                while self._notices:
                    yield self._notices.popleft()
                if self._is_finished():
                    return
                if self._keep_alive_due:
                    self._keep_alive_due = False
                    yield KEEP_ALIVE
        finally:
            self.detach()

    def detach(self) -> None:
        """The connection is gone, or its stream was read to the end. Twice is once."""
        if self.closing is None:
            self.closing = Closing.DETACHED
        if not self._is_detached:
            self._is_detached = True
            self._on_detach(self)

    async def _next_events(self) -> list[Event]:
        """What comes next, or nothing when there is a reason other than events to wake up for."""
        while True:
            # Before looking, not before waiting: what comes while the store is read wakes us too.
            self._signal.clear()
            if self.closing is Closing.ROTATED:
                # What was not sent yet is the new owner's.
                return []
            events = self._take_offered()
            if not events and (self._is_behind or self._buffer):
                events = await self._read_missed()
            if events or self._has_other_reason():
                return events
            self._is_waiting = True
            try:
                await self._signal.wait()
            finally:
                self._is_waiting = False

    def _take_offered(self) -> list[Event]:
        """The run of offered events that continues where this follower is."""
        while self._buffer and self._buffer[0].position <= self.position:
            self._take()
        run: list[Event] = []
        while self._buffer and self._buffer[0].position == self.position + len(run) + 1:
            run.append(self._take())
        return run

    def _take(self) -> Event:
        event = self._buffer.popleft()
        self._size -= len(event.data)
        return event

    async def _read_missed(self) -> list[Event]:
        self._is_behind = False
        try:
            found = await self._read()
            if found is not None and found.is_estranged and self._on_estranged and self.closing is None:
                # A worker that was declared lost, or a connection that made room, sends nothing more.
                await self._on_estranged(self)
        except StoreUnavailable as error:
            self._wait_for_store(error)
            return []
        if found is None:
            # Purged with its session: this is all there will ever be.
            self.close(Closing.SESSION)
            return []
        if found.trimmed > self.position:
            # Going on behind it would skip it. A client that comes back for it learns that it is gone.
            self.close(Closing.TRIMMED)
            return []
        self._is_behind = self._is_behind or found.is_cut or len(found.events) == READ_LIMIT
        if found.end is not None and self.stream.kind != "get":
            # A GET stream ends with its session, which the inbox tells, with the reason for the client.
            self._end = found.end
        return list(found.events)

    async def _read(self) -> Reading | None:
        name, size = self.stream.name, app_settings.BUFFER_BYTES
        if self.stream.kind == "get":
            return await get_store().aread(name, self.position, READ_LIMIT, size, worker=self.stream.reader)
        return await get_store().aread(name, self.position, READ_LIMIT, size)

    def _wait_for_store(self, error: StoreUnavailable) -> None:
        """The connection stays: its client has nothing to gain by coming back."""
        # The poller says so once; every stream saying it would be a flood.
        logger.debug("stream %s waits for the session store: %s", self.stream.name, error)
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self.look_again)

    def _has_other_reason(self) -> bool:
        return bool(self._notices) or self._keep_alive_due or self._is_finished()

    def _is_finished(self) -> bool:
        if self.closing is not None:
            return not self._notices
        return self._end is not None and self.position >= self._end
