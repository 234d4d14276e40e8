"""Streams: opened, added to, read, found, trimmed; who reads a stream, and the moves of what waits."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from heapq import nlargest
from operator import attrgetter

from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.records import (
    Attachment,
    BatchItem,
    Displaced,
    Entry,
    Inbound,
    Placed,
    Reading,
    StreamKind,
    StreamRecord,
)
from mcp_sessions.stores.base import UNBOUNDED, fitting
from mcp_sessions.stores.memory.batches import store_batch
from mcp_sessions.stores.memory.kept import Session, StoredEvent, Stream
from mcp_sessions.stores.memory.records import stream_record
from mcp_sessions.stores.memory.state import State, Transactional


class Streams(Transactional):
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
        with self.transaction() as state:
            if (session := state.unended(session_key)) is None:
                raise SessionEnded("The session has ended: its streams are read no more.")
            if is_new:
                open_stream(state, session, Stream(name, session_key, "get"))
            stream = session.streams.get(name)
            if (
                stream is None
                or stream.kind not in ("get", "post")
                or not stream.trimmed <= seen <= stream.position
            ):
                return None
            displaced = set_reader(state, stream, worker, seen)
            if name in session.get_streams:
                *others, _ = session.open_streams()
                newest = [other for other in others if other.reader][-1:]
                displaced += make_room(session, limit)
                move(stream, [*(other for other in others if not other.reader), *newest])
                drop_left(state, others, keep)
            if displaced:
                store_batch(state, [Inbound(session_key, json.dumps(each.message)) for each in displaced])
            return Attachment(stream_record(stream), tuple(displaced))

    def mark_delivered(
        self, worker: str, positions: Mapping[str, int], *, leaving: bool = False
    ) -> Sequence[str]:
        with self.transaction() as state:
            streams = state.named(positions)
            mine = [stream for stream in streams if stream.reader == worker]
            for stream in mine:
                # Who leaves gives back what it took and has not sent.
                least = stream.trimmed if leaving else stream.delivered
                stream.delivered = max(least, positions[stream.name])
                pass_over_moved(stream)
            if not leaving:
                return []
            leave(mine)
            return hand_over(state, streams)

    def trim(self, streams: Sequence[str], keep: int, before: datetime, size: int = UNBOUNDED) -> int:
        with self.transaction() as state:
            found = [stream for stream in state.named(streams) if not has_to_stay(stream)]
            return sum(trim_stream(stream, keep, before, size) for stream in found)


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
    is_cut = count < len(page)
    return Reading(tuple(page[:count]), end, is_cut=is_cut, trimmed=stream.trimmed, position=stream.position)


def set_reader(state: State, stream: Stream, worker: str, seen: int) -> list[Displaced]:
    """Have the stream read by the worker; the connection of another worker that it had."""
    earlier = Displaced(stream.name, stream.reader, stream.attached_at, "replaced")
    stream.reader, stream.attached_at, stream.idle_since = worker, state.next_attachment(), None
    stream.delivered = max(stream.delivered, seen) if stream.kind == "get" else seen
    return [earlier] if earlier.reader not in ("", worker) else []


def drop_left(state: State, others: Iterable[Stream], keep: int | None) -> None:
    """Of the streams that nobody reads, and that nothing waits in any more, only the newest stay."""
    left = [stream for stream in others if not stream.reader]
    for stream in left[: max(0, len(left) - keep)] if keep is not None else ():
        state.drop_stream(stream)


def make_room(session: Session, limit: int | None) -> list[Displaced]:
    """Nobody reads the session's oldest GET streams any more; the one just attached is the newest."""
    read = [stream for stream in session.open_streams() if stream.reader]
    excess = read[:-limit] if limit is not None else []
    displaced = [Displaced(each.name, each.reader, each.attached_at, "limit") for each in excess]
    leave(excess)
    return displaced


def leave(streams: Iterable[Stream]) -> None:
    """Nobody reads these streams any more."""
    for stream in streams:
        stream.reader, stream.idle_since = "", timezone.now()


def move(target: Stream, streams: Iterable[Stream]) -> bool:
    """Give what waits in these streams the next positions of the target; whether anything does.

    Events come in the order in which they were stored: those that already wait in the target get new
    positions too, if something older is moved there.
    """
    moved = [stored for stream in streams if stream is not target for stored in _take_what_waits(stream)]
    moved.sort(key=attrgetter("number"))
    is_waiting = target.behind(target.delivered) < len(target.events)
    if moved and is_waiting and moved[0].number < target.events[-1].number:
        moved = sorted([*moved, *_take_what_waits(target)], key=attrgetter("number"))
    for stored in moved:
        target.position += 1
        stored.event = replace(stored.event, position=target.position)
        target.events.append(stored)
    return bool(moved)


def _take_what_waits(stream: Stream) -> list[StoredEvent]:
    first = stream.behind(stream.delivered)
    waiting = stream.events[first:]
    del stream.events[first:]
    # Nothing waits there any more; what comes later does again.
    stream.delivered = stream.position
    return waiting


def keep_order(left: Stream, siblings: Iterable[Stream]) -> None:
    """Events stay in the stream that was left if a later one was taken from another stream of the session.

    They count as delivered there: who resumes the stream gets them, and no client gets them too late.
    """
    newest = max((each.newest_delivered for each in siblings if each is not left), default=0)
    for stored in left.events[left.behind(left.delivered) :]:
        if stored.number < newest:
            left.delivered = stored.position
    pass_over_moved(left)


def pass_over_moved(stream: Stream) -> None:
    """Where all that was behind has moved to another stream, nothing waits."""
    if stream.behind(stream.delivered) == len(stream.events):
        stream.delivered = stream.position


def hand_over(state: State, left: Iterable[Stream]) -> list[str]:
    """After streams were left: a client that reads another one of its session need not open a third.

    The streams to which something was moved.
    """
    waiting = [s for s in left if s.kind == "get" and s.ended_at is None and s.is_waiting]
    by_session: dict[str, list[Stream]] = defaultdict(list)
    for stream in waiting:
        by_session[stream.session_key].append(stream)
    return [name for key in sorted(by_session) for name in _hand_over(state, key, by_session[key])]


def _hand_over(state: State, key: str, left: Iterable[Stream]) -> list[str]:
    if (session := state.unended(key)) is None:
        return []
    streams = session.open_streams()
    for stream in left:
        keep_order(stream, streams)
    read = [stream for stream in streams if stream.reader]
    if not read or not move(read[-1], [stream for stream in streams if not stream.reader]):
        return []
    state.notify([read[-1].name])
    return [read[-1].name]


def trim_stream(stream: Stream, keep: int, before: datetime, size: int) -> int:
    """Delete what was delivered, up to the last event that is too old or too much; how many events."""
    last, total = 0, 0
    for stored in reversed(stream.events):
        total += len(stored.event.data)
        if stored.position <= stream.position - keep or stored.created_at < before or total > size:
            last = min(stored.position, stream.delivered)
            break
    return stream.trim(last)


def has_to_stay(stream: Stream) -> bool:
    """The answers in a batch's reply say which of its requests are still to be answered."""
    return stream.ended_at is None and len(stream.request_ids) > 1
