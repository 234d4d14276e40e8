"""The verbs on streams: open, read, tidy up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.records import Entry, Event, Reading, StreamKind, StreamRecord
from mcp_sessions.stores.base import UNBOUNDED
from mcp_sessions.stores.redis.records import stream_records
from mcp_sessions.stores.redis.values import instant, text
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, ask, chunks, do, verb

TAKEN: Final = "A stream with this name is already there."
NEWS_KEPT: Final = timedelta(minutes=1)
"""How long a bell can be heard; who was away longer looks at everything that is his anyway."""


class StreamVerbs(RunsSteps):
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
        end, found, is_cut, trimmed = answer
        events = tuple(Event(int(position), name, data) for position, name, data in json.loads(text(found)))
        return Reading(events, int(end) if end else None, is_cut=bool(is_cut), trimmed=int(trimmed))

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
        kept = NEWS_KEPT // timedelta(microseconds=1)
        return int((yield from do(self, "delete_unreachable", before, limit, kept)))
