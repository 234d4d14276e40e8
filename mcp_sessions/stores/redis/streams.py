"""Streams: opened, added to, read, found, trimmed; and who reads a stream, and how far."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final

from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.records import (
    Attachment,
    BatchItem,
    Displaced,
    Entry,
    Event,
    Placed,
    Reading,
    StreamKind,
    StreamRecord,
)
from mcp_sessions.records import instant as as_text
from mcp_sessions.stores.base import UNBOUNDED
from mcp_sessions.stores.pending import log_dropped
from mcp_sessions.stores.redis.batches import batch_arguments, places
from mcp_sessions.stores.redis.commands import (
    RunsSteps,
    Steps,
    chunks,
    flat,
    method,
    run_once,
    run_repeatable,
)
from mcp_sessions.stores.redis.records import stream_record, stream_records
from mcp_sessions.stores.redis.values import instant, instant_or_none, text

TAKEN: Final = "A stream with this name is already there."


class Streams(RunsSteps):
    @method
    def open_stream(
        self,
        session_key: str,
        name: str,
        kind: StreamKind,
        worker: str = "",
        request_ids: Sequence[int | str] = (),
    ) -> Steps[StreamRecord]:
        ids = tuple(request_ids)
        answer = yield from run_once(self, "open_stream", session_key, name, kind, worker, json.dumps(ids))
        if answer is None:
            raise SessionEnded("The session has ended: it gets no new stream.")
        if answer == b"taken":
            raise DuplicateIdentifier(TAKEN)
        writer, reader, at = map(text, answer)
        return StreamRecord(
            name, session_key, kind, request_ids=ids, writer=writer, reader=reader, created_at=instant(at)
        )

    @method
    def read(
        self, stream: str, after: int, limit: int, size: int = UNBOUNDED, *, worker: str = ""
    ) -> Steps[Reading | None]:
        answer = yield from run_repeatable(self, "read", stream, worker, after + 1, limit, size)
        if answer is None:
            return None
        if answer == b"estranged":
            return Reading((), is_estranged=True)
        end, found, is_cut, trimmed, position = answer
        events = tuple(Event(int(position), name, data) for position, name, data in json.loads(text(found)))
        last = int(end) if end else None
        return Reading(events, last, is_cut=bool(is_cut), trimmed=int(trimmed), position=int(position))

    @method
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
                records = stream_records(
                    (yield from run_repeatable(self, "find_streams", by, only_open, *some))
                )
                found.update((record.name, record) for record in records)
        return dict(sorted(found.items()))

    @method
    def last_events(self, streams: Sequence[str], limit: int) -> Steps[Sequence[Entry]]:
        found: list[Entry] = []
        for some in chunks(streams):
            for each in (yield from run_repeatable(self, "last_events", limit, *some)):
                stream, position, name, data, at = json.loads(text(each))
                found.append(Entry(stream, Event(int(position), name, data), instant(at)))
        return sorted(found, key=attrgetter("at"), reverse=True)[:limit]

    @method
    def trim(self, streams: Sequence[str], keep: int, before: datetime, size: int = UNBOUNDED) -> Steps[int]:
        deleted = 0
        for some in chunks(streams):
            deleted += yield from run_once(self, "trim", keep, before, size, *some)
        return deleted

    @method
    def append(self, batch: Sequence[BatchItem], token: str = "") -> Steps[list[Placed]]:
        if not batch:
            return []
        answer = yield from run_once(self, "append", token, *batch_arguments(batch))
        if answer == b"taken":
            raise DuplicateIdentifier("A batch with this token was stored already.")
        placed, dropped = answer
        for key, server, count in dropped:
            log_dropped(text(key), text(server), count)
        return [places(each) for each in placed]

    @method
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
        # As an instant, and as text for the message to a displaced connection.
        now = timezone.now()
        how = (seen, limit, is_new, now, as_text(now), keep)
        answer = yield from run_once(self, "attach", session_key, name, worker, *how)
        if answer is None:
            return None
        if answer == b"taken":
            raise DuplicateIdentifier(TAKEN)
        if answer == b"ended":
            raise SessionEnded("The session has ended: its streams are read no more.")
        stream, displaced = stream_record(answer[0]), answer[1]
        return None if stream is None else Attachment(stream, tuple(_displaced(*each) for each in displaced))

    @method
    def mark_delivered(
        self, worker: str, positions: Mapping[str, int], *, leaving: bool = False
    ) -> Steps[Sequence[str]]:
        # A worker that leaves twice might leave what was attached in between.
        run = run_once if leaving else run_repeatable
        moved: list[str] = []
        for some in chunks(positions.items()):
            found = yield from run(self, "mark_delivered", worker, leaving, *flat(some))
            moved += map(text, found)
        return moved


def _displaced(stream: bytes, reader: bytes, attached_at: bytes, why: bytes, _: bytes) -> Displaced:
    is_limit = why == b"limit"
    return Displaced(
        text(stream), text(reader), instant_or_none(attached_at), "limit" if is_limit else "replaced"
    )
