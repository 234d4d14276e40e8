"""The verbs on streams: open, add to, read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nlargest
from operator import attrgetter

from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.records import BatchItem, Entry, Placed, Reading, StreamKind, StreamRecord
from mcp_sessions.stores.base import UNBOUNDED, fitting
from mcp_sessions.stores.memory.appending import store_batch
from mcp_sessions.stores.memory.kept import Session, Stream
from mcp_sessions.stores.memory.records import stream_record
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.transactions import Transactional


class StreamVerbs(Transactional):
    def open_stream(
        self,
        session_key: str,
        name: str,
        kind: StreamKind,
        worker: str = "",
        request_ids: Sequence[int | str] = (),
    ) -> StreamRecord:
        with self.transaction() as state:
            if (session := state.unended(session_key)) is None:
                raise SessionEnded("The session has ended: it gets no new stream.")
            # A POST's reply is being read from the start.
            reader = worker if kind == "post" else ""
            stream = Stream(name, session_key, kind, tuple(request_ids), worker, reader)
            open_stream(state, session, stream)
            return stream_record(stream)

    def append(self, batch: Sequence[BatchItem], token: str = "") -> list[Placed]:
        with self.transaction() as state:
            if token in state.tokens:
                raise DuplicateIdentifier("A batch with this token was stored already.")
            return store_batch(state, batch, token)

    def read(
        self, stream: str, after: int, limit: int, size: int = UNBOUNDED, *, worker: str = ""
    ) -> Reading | None:
        with self.transaction() as state:
            found = state.streams.get(stream)
            if worker:
                return None if found is None else take(found, worker, after, limit, size)
            found = found or unopened_inbox(state, stream)
            return None if found is None else read(found, after, limit, size)

    def find_streams(
        self,
        names: Sequence[str] = (),
        *,
        sessions: Sequence[str] = (),
        writers: Sequence[str] = (),
        only_open: bool = False,
    ) -> Mapping[str, StreamRecord]:
        with self.transaction() as state:
            named = (state.streams.get(name) or unopened_inbox(state, name) for name in names)
            kept = [state.sessions[key] for key in sessions if key in state.sessions]
            theirs = (x for session in kept for x in session.streams.values() if x.kind != "inbox")
            written = state.streams.values() if writers else ()
            found = [*filter(None, named), *theirs, *(x for x in written if x.writer in writers)]
            records = (stream_record(stream) for stream in found if not (only_open and stream.ended_at))
            return {record.name: record for record in sorted(records, key=attrgetter("name"))}

    def last_events(self, streams: Sequence[str], limit: int) -> Sequence[Entry]:
        with self.transaction() as state:
            last = [(stream.name, each) for stream in state.named(streams) for each in stream.events[-limit:]]
            newest = nlargest(limit, last, key=lambda pair: pair[1].number)
            return [Entry(name, stored.event, stored.created_at) for name, stored in newest]


def unopened_inbox(state: State, key: str) -> Stream | None:
    """The inbox of a session in which nothing was put, or that was deleted because nobody used it."""
    if (session := state.sessions.get(key)) is None:
        return None
    at = session.inbox
    created_at, ended_at = session.created_at, session.ended_at
    return Stream(key, key, "inbox", position=at, trimmed=at, created_at=created_at, ended_at=ended_at)


def open_stream(state: State, session: Session, stream: Stream) -> None:
    if stream.name in state.streams:
        raise DuplicateIdentifier("A stream with this name is already there.")
    state.add_stream(session, stream)


def take(stream: Stream, worker: str, after: int, limit: int, size: int) -> Reading:
    """Read to send what is found, if the worker reads the stream."""
    if stream.reader != worker:
        return Reading((), is_estranged=True)
    reading = read(stream, after, limit, size)
    stream.delivered = max([stream.delivered, *(event.position for event in reading.events[-1:])])
    return reading


def read(stream: Stream, after: int, limit: int, size: int) -> Reading:
    first = stream.behind(after)
    page = [stored.event for stored in stream.events[first : first + limit]]
    count = fitting((len(event.data) for event in page), size)
    end = None if stream.ended_at is None else stream.position
    return Reading(tuple(page[:count]), end, is_cut=count < len(page), trimmed=stream.trimmed)
