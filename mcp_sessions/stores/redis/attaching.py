"""The verbs on who reads a stream, and how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.records import Attachment, Displaced, instant
from mcp_sessions.stores.redis.records import stream_record
from mcp_sessions.stores.redis.streams import TAKEN
from mcp_sessions.stores.redis.values import instant_or_none, text
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, ask, chunks, do, flat, verb


class AttachingVerbs(RunsSteps):
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
        how = (seen, limit, is_new, now, instant(now), keep)
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


def _displaced(stream: bytes, reader: bytes, attached_at: bytes, why: bytes, _: bytes) -> Displaced:
    is_limit = why == b"limit"
    return Displaced(
        text(stream), text(reader), instant_or_none(attached_at), "limit" if is_limit else "replaced"
    )
