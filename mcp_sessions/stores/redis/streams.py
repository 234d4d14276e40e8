"""Streams: opened, added to, read, attached, trimmed; and the requests whose answers come in an inbox."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from django.utils import timezone

from mcp_sessions.conf import AppSettings, app_settings
from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import (
    Append,
    Attachment,
    BatchItem,
    Displaced,
    Entry,
    Event,
    Inbound,
    Placed,
    Reading,
    Send,
    StreamKind,
    StreamRecord,
    Taken,
)
from mcp_sessions.records import instant as as_text
from mcp_sessions.stores.base import UNBOUNDED
from mcp_sessions.stores.pending import log_dropped
from mcp_sessions.stores.redis.records import stream_record, stream_records
from mcp_sessions.stores.redis.values import Argument, instant, instant_or_none, text
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, ask, chunks, do, flat, verb

TAKEN: Final = "A stream with this name is already there."
CHANGES_KEPT: Final = timedelta(minutes=1)
"""How long a change is told. A process that was away for longer compares all it has open."""


class Streams(RunsSteps):
    @verb
    def open_stream(
        self,
        session_key: str,
        name: str,
        kind: StreamKind,
        worker: str = "",
        request_ids: Sequence[int | str] = (),
    ) -> Steps[StreamRecord]:
        ids = tuple(request_ids)
        answer = yield from do(self, "open_stream", session_key, name, kind, worker, json.dumps(ids))
        if answer is None:
            raise SessionEnded("The session has ended: it gets no new stream.")
        if answer == b"taken":
            raise DuplicateIdentifier(TAKEN)
        writer, reader, at = map(text, answer)
        return StreamRecord(
            name, session_key, kind, request_ids=ids, writer=writer, reader=reader, created_at=instant(at)
        )

    @verb
    def read(
        self, stream: str, after: int, limit: int, size: int = UNBOUNDED, *, worker: str = ""
    ) -> Steps[Reading | None]:
        answer = yield from ask(self, "read", stream, worker, after + 1, limit, size)
        if answer is None:
            return None
        if answer == b"estranged":
            return Reading((), is_estranged=True)
        end, found, is_cut, trimmed, position = answer
        events = tuple(Event(int(position), name, data) for position, name, data in json.loads(text(found)))
        last = int(end) if end else None
        return Reading(events, last, is_cut=bool(is_cut), trimmed=int(trimmed), position=int(position))

    @verb
    def find_streams(
        self,
        names: Sequence[str] = (),
        *,
        sessions: Sequence[str] = (),
        writers: Sequence[str] = (),
        only_open: bool = False,
    ) -> Steps[Mapping[str, StreamRecord]]:
        found: dict[str, StreamRecord] = {}
        for by, values in (("name", names), ("session", sessions), ("writer", writers)):
            for some in chunks(values):
                records = stream_records((yield from ask(self, "find_streams", by, only_open, *some)))
                found.update((record.name, record) for record in records)
        return dict(sorted(found.items()))

    @verb
    def last_events(self, streams: Sequence[str], limit: int) -> Steps[Sequence[Entry]]:
        found: list[Entry] = []
        for some in chunks(streams):
            for each in (yield from ask(self, "last_events", limit, *some)):
                stream, position, name, data, at = json.loads(text(each))
                found.append(Entry(stream, Event(int(position), name, data), instant(at)))
        return sorted(found, key=attrgetter("at"), reverse=True)[:limit]

    @verb
    def trim(self, streams: Sequence[str], keep: int, before: datetime, size: int = UNBOUNDED) -> Steps[int]:
        deleted = 0
        for some in chunks(streams):
            deleted += yield from do(self, "trim", keep, before, size, *some)
        return deleted

    @verb
    def delete_unreachable(self, before: datetime, limit: int) -> Steps[int]:
        kept = CHANGES_KEPT // timedelta(microseconds=1)
        return int((yield from do(self, "delete_unreachable", before, limit, kept)))

    @verb
    def append(self, batch: Sequence[BatchItem], token: str = "") -> Steps[list[Placed]]:
        if not batch:
            return []
        items = [part for item in batch for part in _item(item)]
        answer = yield from do(self, "append", token, *_limits(batch), *items)
        if answer == b"taken":
            raise DuplicateIdentifier("A batch with this token was stored already.")
        placed, dropped = answer
        for key, server, count in dropped:
            log_dropped(text(key), text(server), count)
        return [_places(each) for each in placed]

    @verb
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
    ) -> Steps[Attachment | None]:
        # As an instant and as the text that a displaced connection is told it by.
        now = timezone.now()
        how = (seen, limit, is_new, now, as_text(now), keep)
        answer = yield from do(self, "attach", session_key, name, worker, *how)
        if answer is None:
            return None
        if answer == b"taken":
            raise DuplicateIdentifier(TAKEN)
        if answer == b"ended":
            raise SessionEnded("The session has ended: its streams are read no more.")
        stream, displaced = stream_record(answer[0]), answer[1]
        return None if stream is None else Attachment(stream, tuple(_displaced(*each) for each in displaced))

    @verb
    def mark_delivered(
        self, worker: str, positions: Mapping[str, int], *, leaving: bool = False
    ) -> Steps[Sequence[str]]:
        # Who leaves twice might leave what was attached in between.
        send = do if leaving else ask
        moved: list[str] = []
        for some in chunks(positions.items()):
            found = yield from send(self, "mark_delivered", worker, leaving, *flat(some))
            moved += map(text, found)
        return moved

    @verb
    def add_request(self, key: str, request: str, until: datetime, limit: int | None) -> Steps[bool]:
        answer = yield from ask(self, "add_request", key, request, until, limit)
        if answer is None:
            raise SessionEnded("The session has ended: its client is sent no request.")
        return bool(answer)

    @verb
    def drop_request(self, key: str, request: str) -> Steps[None]:
        yield from ask(self, "drop_request", key, request)


def _limits(batch: Sequence[BatchItem]) -> list[Argument]:
    """How much may wait at every endpoint: only the store knows whose a session is."""
    if not any(isinstance(item, Send) for item in batch):
        return [None, None, 0]
    servers = list(app_settings.SERVERS)
    own = [part for server in servers for part in (server, *_of(AppSettings(server)))]
    return [*_of(app_settings), len(servers), *own]


def _of(options: AppSettings) -> tuple[int | None, int | None]:
    return options.MAX_PENDING, options.MAX_PENDING_BYTES


def _item(item: BatchItem) -> Iterator[Argument]:
    if isinstance(item, Append):
        yield "append"
        yield from _append(item)
        return
    if isinstance(item, Inbound):
        yield from ("inbound", item.session, item.data, item.request, item.answers)
        return
    yield from ("send", item.session, new_stream_name(), item.everywhere, item.only_now, item.name, item.data)
    yield len(item.readers)
    for stream, worker in item.readers:
        yield from (stream, worker)
    yield item.call is not None
    if item.call is not None:
        yield from _append(item.call)


def _append(append: Append) -> Iterator[Argument]:
    yield from (append.stream, append.writer, append.reader, append.ends, len(append.events))
    for name, data in append.events:
        yield name
        yield data


def _places(found: Sequence[Any]) -> Placed:
    each = zip(found[::3], found[1::3], found[2::3], strict=True)
    places = (((text(name), int(first)), is_taken) for name, first, is_taken in each)
    return tuple(Taken(place) if is_taken else place for place, is_taken in places)


def _displaced(stream: bytes, reader: bytes, attached_at: bytes, why: bytes, _: bytes) -> Displaced:
    is_limit = why == b"limit"
    return Displaced(
        text(stream), text(reader), instant_or_none(attached_at), "limit" if is_limit else "replaced"
    )
