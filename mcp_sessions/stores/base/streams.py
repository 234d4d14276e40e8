"""Streams: ordered, durable logs of sessions.

The inbox of a session is a stream, too, of kind "inbox", whose name is the session's key. It has what clients
and other processes have for the workers of the session. It is there as long as the session is, ends with it,
and takes `Inbound` items only. Nobody attaches to it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime

from mcp_sessions.records import Attachment, BatchItem, Entry, Placed, Reading, StreamKind, StreamRecord
from mcp_sessions.stores.base.async_variants import AsyncVariants
from mcp_sessions.stores.base.bounds import UNBOUNDED


class StreamStore(AsyncVariants):
    """Streams, who reads them, and the requests to clients whose answers come in an inbox."""

    @abstractmethod
    def open_stream(
        self,
        session_key: str,
        name: str,
        kind: StreamKind,
        worker: str = "",
        request_ids: Sequence[int | str] = (),
    ) -> StreamRecord:
        """Create a stream. A POST's is written and read by the worker, and answers the request ids.

        Raises SessionEnded if the session is not there or has ended.
        """

    async def aopen_stream(
        self,
        session_key: str,
        name: str,
        kind: StreamKind,
        worker: str = "",
        request_ids: Sequence[int | str] = (),
    ) -> StreamRecord:
        return await self.arun(self.open_stream, session_key, name, kind, worker, request_ids)

    @abstractmethod
    def append(self, batch: Sequence[BatchItem], token: str = "") -> list[Placed]:
        """Add events to streams, all of the batch in one transaction; where each item's went.

        For an Append without events that is the stream's last position. It is nowhere for a
        stream or session that has ended or is not there, and for a stream of another writer: of
        such an item nothing is stored. Positions of a stream are consecutive, begin with 1 and
        become visible in order: a reader that has seen 7 never finds a 6 later.

        Events that their `reader` has taken with it (see `read`) have a records.Taken as their place.

        With a `token`, only if no batch with the same one was stored within the last minute: else it
        raises DuplicateIdentifier. So a caller that does not know whether a batch was stored tries again.

        What waits for a session in streams that nobody reads is bounded by MAX_PENDING and
        MAX_PENDING_BYTES (see `stores.pending`): past them the oldest is deleted (`trimmed`), said in the
        log and counted in the session's metadata (`dropped`). Inboxes keep about INBOX_KEPT messages,
        those that were stored last.
        """

    async def aappend(self, batch: Sequence[BatchItem], token: str = "") -> list[Placed]:
        return await self.arun(self.append, batch, token)

    @abstractmethod
    def read(
        self, stream: str, after: int, limit: int, size: int = UNBOUNDED, *, worker: str = ""
    ) -> Reading | None:
        """At most `limit` events with positions greater than `after`; None if the stream is not there.

        No more than `size` characters of data in all, but for the first event, which comes whatever it has.

        With a `worker` the events of a GET stream are read to be sent: the worker has them, and no other
        will. They count as delivered from then on, so they do not move, even if the worker is lost before
        it has sent them. Then they wait for the client that resumes the stream. If the worker does not
        read the stream, the reading is empty and `is_estranged`.
        """

    async def aread(
        self, stream: str, after: int, limit: int, size: int = UNBOUNDED, *, worker: str = ""
    ) -> Reading | None:
        return await self.arun(self.read, stream, after, limit, size, worker=worker)

    @abstractmethod
    def attach(
        self,
        session_key: str,
        name: str,
        worker: str,
        seen: int,
        limit: int | None,
        *,
        is_new: bool = False,
        keep: int | None = None,
    ) -> Attachment | None:
        """Have a stream of the session read by a worker, behind the position `seen`; None if it has no such.

        It has none either if events behind `seen` were deleted: nothing is skipped without a word.
        A reply counts as delivered up to `seen` from then on, since what was sent need not have
        arrived; of a GET stream what was delivered is not taken back.

        `is_new`: a GET stream with this name is opened for it in the same step, so that nothing is
        stored in it before what waits has moved there.

        What waits in the session's other GET streams (the events behind `delivered`: of one that is
        read, those that its reader has not taken) moves to this one, if it is a GET stream: they
        leave their stream and get the next positions here, in the order in which they were stored (what
        already waits here gets new positions too, if it is later).
        Of streams that are read that is the newest, and those that have to make room. Past `limit`
        open GET streams, those that were attached first are read by nobody any more. Their connections,
        and an earlier one of this stream at another worker, are named as displaced, in the answer
        and in the session's inbox. Of the others that nobody reads, only the `keep` that were attached last
        stay: the rest are deleted with what was delivered of them. Raises SessionEnded.
        """

    async def aattach(
        self,
        session_key: str,
        name: str,
        worker: str,
        seen: int,
        limit: int | None,
        *,
        is_new: bool = False,
        keep: int | None = None,
    ) -> Attachment | None:
        return await self.arun(self.attach, session_key, name, worker, seen, limit, is_new=is_new, keep=keep)

    @abstractmethod
    def mark_delivered(
        self, worker: str, positions: Mapping[str, int], *, leaving: bool = False
    ) -> Sequence[str]:
        """Remember how far streams that the worker reads have been sent; it only moves forward.

        `leaving`: the worker does not read them any more, and what it took behind these positions was
        not sent. In GET streams that waits again, unless a later event was taken from another stream of
        the session: then it stays delivered, for the client that resumes the stream. What waits moves, in
        the same step, to the session's newest GET stream that is read, if there is any: in front of what
        was stored later and waits there. The names of the streams to which something moved.
        """

    async def amark_delivered(
        self, worker: str, positions: Mapping[str, int], *, leaving: bool = False
    ) -> Sequence[str]:
        return await self.arun(self.mark_delivered, worker, positions, leaving=leaving)

    @abstractmethod
    def find_streams(
        self,
        names: Sequence[str] = (),
        *,
        sessions: Sequence[str] = (),
        writers: Sequence[str] = (),
        only_open: bool = False,
    ) -> Mapping[str, StreamRecord]:
        """How streams stand, by their names and in the order of these.

        Those with these names, inboxes among them; those of the sessions with these keys, without their
        inboxes; those that these workers write. Names that no stream has are left out, and with
        `only_open` also streams that have ended.
        """

    async def afind_streams(
        self,
        names: Sequence[str] = (),
        *,
        sessions: Sequence[str] = (),
        writers: Sequence[str] = (),
        only_open: bool = False,
    ) -> Mapping[str, StreamRecord]:
        return await self.arun(
            self.find_streams, names, sessions=sessions, writers=writers, only_open=only_open
        )

    @abstractmethod
    def last_events(self, streams: Sequence[str], limit: int) -> Sequence[Entry]:
        """At most `limit` events of these streams, those that were stored last; the newest comes first.

        Of each stream the last by position are looked at.
        """

    async def alast_events(self, streams: Sequence[str], limit: int) -> Sequence[Entry]:
        return await self.arun(self.last_events, streams, limit)

    @abstractmethod
    def trim(self, streams: Sequence[str], keep: int, before: datetime, size: int = UNBOUNDED) -> int:
        """Delete the oldest events of these streams, as far as they were delivered; how many.

        The last `keep` stay, as long as they are younger than `before` and have no more than `size`
        characters of data in all; and so do all in the reply to a batch that has not ended. How far
        a stream was trimmed is remembered (`trimmed`).
        """

    async def atrim(self, streams: Sequence[str], keep: int, before: datetime, size: int = UNBOUNDED) -> int:
        return await self.arun(self.trim, streams, keep, before, size)

    @abstractmethod
    def add_request(self, key: str, request: str, until: datetime, limit: int | None) -> bool:
        """Note that a worker waits until then for the client's answer to the request with this name.

        False, and nothing changes, if `limit` others are pending; calls (see records.CALL) do not count.
        Raises SessionEnded.
        """

    async def aadd_request(self, key: str, request: str, until: datetime, limit: int | None) -> bool:
        return await self.arun(self.add_request, key, request, until, limit)

    @abstractmethod
    def drop_request(self, key: str, request: str) -> None:
        """Delete the request and its message in the inbox: no worker waits any more."""

    async def adrop_request(self, key: str, request: str) -> None:
        await self.arun(self.drop_request, key, request)
