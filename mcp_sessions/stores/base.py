"""The contract every session store fulfils.

Each verb exists twice: the plain name blocks (Django views, Celery tasks, commands), its `a`
twin awaits (the runtime's loop). A store written with blocking calls implements the plain
verbs and `arun`, which takes them off the loop.

A verb raises StoreUnavailable when the store cannot be reached; then nothing was written, or
(a connection lost during the commit itself) it is unknown whether it was, and it is not tried
again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from mcp_sessions.records import Append, Event, SessionRecord, StreamKind, StreamRecord, Touch

P = ParamSpec("P")
R = TypeVar("R")


class BaseSessionStore(ABC):
    """Where sessions, their streams and their data live."""

    # -- sessions ------------------------------------------------------------------------

    @abstractmethod
    def create(self, session: SessionRecord) -> None:
        """Store a new session. Raises DuplicateIdentifier if its key or digest is taken."""

    @abstractmethod
    def load(self, digest: str) -> SessionRecord | None:
        """The session whose id has this digest, live or not, or None."""

    @abstractmethod
    def load_by_key(self, key: str) -> SessionRecord | None:
        """The session with this public name, live or not, or None."""

    @abstractmethod
    def save_metadata(self, key: str, changes: Mapping[str, Any]) -> bool:
        """Merge `changes` into the metadata of a session that has not ended; False if there is none.

        Atomic: two merges of different names at once keep both.
        """

    @abstractmethod
    def touch(self, touches: Sequence[Touch]) -> None:
        """Record use of sessions: counts are added, instants only move forward, ended sessions stay."""

    @abstractmethod
    def end(self, key: str, at: datetime, reason: str) -> bool:
        """End a session. True for the one caller that ended it, False if it had ended or is not there."""

    @abstractmethod
    def purge(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` sessions that have ended or expired, with all that is theirs; how many."""

    # -- data ----------------------------------------------------------------------------

    @abstractmethod
    def lease(self, key: str, token: str, now: datetime, until: datetime) -> Mapping[str, Any] | None:
        """Take the session's data for editing until `until`; the data, or None while somebody else has it.

        Raises SessionEnded if the session is not there or has ended.
        """

    @abstractmethod
    def release(self, key: str, token: str, data: Mapping[str, Any] | None) -> bool:
        """Give the lease back, writing `data` unless it is None. False (and nothing written) if it was lost.

        Raises SessionEnded if the session has ended meanwhile.
        """

    # -- subscriptions -------------------------------------------------------------------

    @abstractmethod
    def subscribe(self, key: str, uri: str) -> None:
        """Remember that the session wants to know of changes to the resource. Twice is once."""

    @abstractmethod
    def unsubscribe(self, key: str, uri: str) -> None:
        """Forget it; nothing happens if there was nothing to forget."""

    @abstractmethod
    def subscribers(self, uri: str, now: datetime) -> Sequence[SessionRecord]:
        """The live sessions that are subscribed to the resource."""

    # -- streams -------------------------------------------------------------------------

    @abstractmethod
    def open_stream(self, session_key: str, name: str, kind: StreamKind) -> StreamRecord:
        """Create a stream. Raises SessionEnded if the session is not there or has ended."""

    @abstractmethod
    def find_stream(self, session_key: str, name: str) -> StreamRecord | None:
        """The session's stream of this name; another session's is None."""

    @abstractmethod
    def newest_stream(self, session_key: str, kind: StreamKind) -> StreamRecord | None:
        """The stream of this kind that was opened last and has not ended."""

    @abstractmethod
    def append(self, batch: Sequence[Append]) -> list[int | None]:
        """Add events to streams, all of the batch in one transaction.

        Answers, for each item, the position of its first event (for an item without events the
        stream's last position), or None for a stream that had ended or is not there: of such an
        item nothing is stored. Positions of a stream are consecutive, begin with 1 and become
        visible in order: who has read 7 never finds a 6 later that was not there.
        """

    @abstractmethod
    def read(self, stream: str, after: int, limit: int) -> list[Event]:
        """At most `limit` events of the stream with positions greater than `after`, in order."""

    @abstractmethod
    def mark_delivered(self, positions: Mapping[str, int]) -> None:
        """Remember how far streams have been sent to their clients. It only moves forward."""

    @abstractmethod
    def take_over(self, session_key: str, to: str, open_streams: Sequence[str]) -> int:
        """Move what waits in the session's other GET streams, except the open ones, to the stream `to`.

        What waits are the events behind `delivered`; they leave their stream and get positions
        in `to`, in the order in which they were stored. How many were moved.
        """

    # -- the same, awaited ---------------------------------------------------------------

    @abstractmethod
    async def arun(self, verb: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one of the blocking verbs off the loop."""

    def close(self) -> None:  # noqa: B027  a store may have nothing to give back
        """Give back threads and connections. The store is not used afterwards."""

    async def acreate(self, session: SessionRecord) -> None:
        await self.arun(self.create, session)

    async def aload(self, digest: str) -> SessionRecord | None:
        return await self.arun(self.load, digest)

    async def aload_by_key(self, key: str) -> SessionRecord | None:
        return await self.arun(self.load_by_key, key)

    async def asave_metadata(self, key: str, changes: Mapping[str, Any]) -> bool:
        return await self.arun(self.save_metadata, key, changes)

    async def atouch(self, touches: Sequence[Touch]) -> None:
        await self.arun(self.touch, touches)

    async def aend(self, key: str, at: datetime, reason: str) -> bool:
        return await self.arun(self.end, key, at, reason)

    async def apurge(self, now: datetime, limit: int) -> int:
        return await self.arun(self.purge, now, limit)

    async def alease(self, key: str, token: str, now: datetime, until: datetime) -> Mapping[str, Any] | None:
        return await self.arun(self.lease, key, token, now, until)

    async def arelease(self, key: str, token: str, data: Mapping[str, Any] | None) -> bool:
        return await self.arun(self.release, key, token, data)

    async def asubscribe(self, key: str, uri: str) -> None:
        await self.arun(self.subscribe, key, uri)

    async def aunsubscribe(self, key: str, uri: str) -> None:
        await self.arun(self.unsubscribe, key, uri)

    async def asubscribers(self, uri: str, now: datetime) -> Sequence[SessionRecord]:
        return await self.arun(self.subscribers, uri, now)

    async def aopen_stream(self, session_key: str, name: str, kind: StreamKind) -> StreamRecord:
        return await self.arun(self.open_stream, session_key, name, kind)

    async def afind_stream(self, session_key: str, name: str) -> StreamRecord | None:
        return await self.arun(self.find_stream, session_key, name)

    async def anewest_stream(self, session_key: str, kind: StreamKind) -> StreamRecord | None:
        return await self.arun(self.newest_stream, session_key, kind)

    async def aappend(self, batch: Sequence[Append]) -> list[int | None]:
        return await self.arun(self.append, batch)

    async def aread(self, stream: str, after: int, limit: int) -> list[Event]:
        return await self.arun(self.read, stream, after, limit)

    async def amark_delivered(self, positions: Mapping[str, int]) -> None:
        await self.arun(self.mark_delivered, positions)

    async def atake_over(self, session_key: str, to: str, open_streams: Sequence[str]) -> int:
        return await self.arun(self.take_over, session_key, to, open_streams)
