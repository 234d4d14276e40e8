"""A batch of items: each is stored in its streams, and finds what those before it have left there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from django.utils import timezone

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import UnreadableData
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import (
    INBOX_KEPT,
    Append,
    BatchItem,
    Event,
    Inbound,
    Placed,
    Send,
    StreamKind,
    Taken,
)
from mcp_sessions.stores.memory.data import forget_messages, take_request
from mcp_sessions.stores.memory.kept import Session, StoredEvent, Stream
from mcp_sessions.stores.memory.records import read_metadata
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.pending import log_dropped, may_be_too_much


def store_batch(state: State, batch: Sequence[BatchItem], token: str = "") -> list[Placed]:
    adding = Batch(state, batch)
    placed = adding.store()
    state.notify(adding.names, token)
    return placed


class Batch:
    """What a batch adds to the state, and which streams it touches."""

    def __init__(self, state: State, batch: Sequence[BatchItem]) -> None:
        self._state = state
        self._items = batch
        self._now = timezone.now()
        self._sent: dict[str, Stream] = {}
        """The streams that were chosen for a Send."""
        self.names: dict[str, None] = {}
        """The streams that were added to or ended, in order."""
        # Before anything is changed: a setting may be wrong.
        keys = {item.session for item in batch if isinstance(item, Send)}
        servers = {session.server for key in keys if (session := state.unended(key)) is not None}
        self._limits = {server: Limits.of(server) for server in servers}
        self._added: dict[str, list[int]] = defaultdict(list)
        """How long the events are that were added to each stream."""

    def store(self) -> list[Placed]:
        placed = [self._store(item) for item in self._items]
        for stream in self._sent.values():
            session = self._state.sessions[stream.session_key]
            drop_oldest(session, stream, self._limits[session.server], self._added[stream.name])
        return placed

    def _store(self, item: BatchItem) -> Placed:
        match item:
            case Append():
                return self._append(item)
            case Send():
                return self._send(item)
            case Inbound():
                return self._put(item)

    def _append(self, item: Append) -> Placed:
        stream = self._state.streams.get(item.stream)
        if stream is None or not is_open(stream, item):
            return ()
        place = self._add(stream, item.events, item.reader)
        if item.ends:
            self._end(stream)
        return (place,)

    def _send(self, item: Send) -> Placed:
        session = self._state.unended(item.session)
        if session is None:
            return ()
        call = () if item.call is None else self._append(item.call)
        if item.call is not None and not call:
            return ()
        streams = self._targets(session, item)
        self._sent.update((stream.name, stream) for stream in streams)
        event, readers = ((item.name, item.data),), dict(item.readers)
        return (*call, *(self._add(each, event, readers.get(each.name, "")) for each in streams))

    def _put(self, item: Inbound) -> Placed:
        """Into the session's inbox, where only the last message for a request is kept."""
        session = self._state.unended(item.session)
        if session is None or (
            item.request and not take_request(session, item.request, answers=item.answers)
        ):
            return ()
        inbox = self._state.streams.get(session.key) or self._open(session, "inbox")
        if item.request:
            forget_messages(self._state, session, item.request)
        place = self._add(inbox, [(item.request, item.data)], "")
        session.inbox, inbox.idle_since = inbox.position, self._now
        inbox.trim(inbox.position - INBOX_KEPT)
        return (place,)

    def _targets(self, session: Session, item: Send) -> Sequence[Stream]:
        streams = session.open_streams()
        read = [stream for stream in streams if stream.reader]
        if read or item.only_now:
            return read if item.everywhere else read[-1:]
        # In one stream, whatever was opened meanwhile: what came first goes first.
        waiting = [stream for stream in streams if stream.is_waiting]
        return (waiting or streams)[-1:] or [self._open(session)]

    def _open(self, session: Session, kind: StreamKind = "get") -> Stream:
        stream = Stream(new_stream_name(), session.key, kind)
        if kind == "inbox":
            # It goes on from where it was.
            stream.name, stream.position, stream.trimmed = session.key, session.inbox, session.inbox
        self._state.add_stream(session, stream)
        return stream

    def _add(self, stream: Stream, events: Iterable[tuple[str, str]], reader: str) -> tuple[str, int]:
        """The stream, and the position of the first event; without events, the last there is."""
        self.names[stream.name] = None
        before = stream.position
        is_taken = bool(reader) and reader == stream.reader and before == stream.delivered
        for name, data in events:
            stream.position += 1
            event = Event(stream.position, name, data)
            stream.events.append(StoredEvent(event, self._state.next_number(), self._now))
            self._added[stream.name].append(len(data))
        place = stream.name, min(before + 1, stream.position)
        if is_taken:
            stream.delivered = stream.position
        return Taken(place) if is_taken else place

    def _end(self, stream: Stream) -> None:
        """The writer is done, and with it the connection it had: only one that came back is still there."""
        if stream.reader == stream.writer:
            stream.reader = ""
        stream.idle_since = None if stream.reader else self._now
        self._state.end_stream(stream, self._now)


def is_open(stream: Stream, item: Append) -> bool:
    """Whether the stream takes what is to be appended: the fence against workers that were declared lost."""
    return stream.ended_at is None and stream.kind != "inbox" and item.writer in ("", stream.writer)


class Limits(NamedTuple):
    """MAX_PENDING and MAX_PENDING_BYTES of an endpoint."""

    events: int | None
    size: int | None

    @classmethod
    def of(cls, server: str) -> Limits:
        options = AppSettings(server)
        return cls(options.MAX_PENDING, options.MAX_PENDING_BYTES)


def drop_oldest(session: Session, stream: Stream, limits: Limits, added: Sequence[int]) -> None:
    """Delete what is too much among the events that wait in the stream, once these sizes were added."""
    if not stream.is_waiting:
        return
    last = stream.delivered if limits.events is None else stream.position - limits.events
    if limits.size is not None and may_be_too_much(stream.position, len(added), sum(added), limits.size):
        last = max(last, _last_too_large(stream, limits.size))
    if last <= stream.delivered:
        return
    first, end = stream.behind(stream.delivered), stream.behind(last)
    del stream.events[first:end]
    stream.delivered = stream.trimmed = last
    count_dropped(session, end - first)
    log_dropped(session.key, session.server, end - first)


def _last_too_large(stream: Stream, limit: int) -> int:
    """The position of the last event with which those behind it have too much data; 0 if none has."""
    size = 0
    for stored in reversed(stream.events[stream.behind(stream.delivered) :]):
        size += len(stored.event.data)
        if size > limit:
            return stored.position
    return 0


def count_dropped(session: Session, count: int) -> None:
    # What cannot be read stays as it is.
    with suppress(UnreadableData):
        metadata = read_metadata(session)
        session.metadata = json.dumps({**metadata, "dropped": metadata.get("dropped", 0) + count})
