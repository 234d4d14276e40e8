"""A strict parser of text/event-stream: what a lenient client would forgive is an error here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FIELDS = frozenset({"event", "data", "id", "retry"})


class MalformedStream(AssertionError):
    """Raised when the bytes are not the event stream that the specification describes."""


@dataclass(frozen=True)
class Event:
    """One block of the stream as it was sent: None is a field that was not there."""

    raw: bytes
    event: str | None = None
    data: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None

    @property
    def is_comment(self) -> bool:
        return (self.event, self.data, self.id, self.retry) == (None, None, None, None)

    @property
    def is_priming(self) -> bool:
        return bool(self.id) and self.data == ""

    @property
    def is_message(self) -> bool:
        return bool(self.data) and self.event in (None, "message")

    def json(self) -> Any:
        if not self.data:
            raise MalformedStream(f"An event without data was read as JSON: {self.raw!r}")
        return json.loads(self.data)


class EventParser:
    """Bytes in, events out. `rest` is what was begun and not finished."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, chunk: bytes) -> Iterator[Event]:
        # CR LF may be cut between two chunks: a lone CR at the end waits for what follows.
        buffered = self.rest + chunk
        held = b"\r" if buffered.endswith(b"\r") else b""
        text = buffered[: len(buffered) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *blocks, unfinished = text.split(b"\n\n")
        self.rest = unfinished + held
        for block in blocks:
            yield parse_block(block)


def parse_block(block: bytes) -> Event:
    if not block.strip(b"\n"):
        raise MalformedStream("Two blank lines in a row: an empty event.")
    if b"\0" in block:
        raise MalformedStream(f"A NUL in {block!r}")
    fields: dict[str, list[str]] = {}
    for line in block.decode("utf-8").split("\n"):
        name, colon, value = line.partition(":")
        if not colon or name not in FIELDS | {""}:
            raise MalformedStream(f"Not a field of an event: {line!r} in {block!r}")
        fields.setdefault(name or "comment", []).append(value.removeprefix(" "))
    for name in ("event", "id", "retry"):
        if len(fields.get(name, ())) > 1:
            raise MalformedStream(f"{name} stands twice in {block!r}")
    return Event(
        raw=block,
        event=_only(fields, "event"),
        data="\n".join(fields["data"]) if "data" in fields else None,
        id=_only(fields, "id"),
        retry=_milliseconds(_only(fields, "retry"), block),
        comment="\n".join(fields["comment"]) if "comment" in fields else None,
    )


def _only(fields: dict[str, list[str]], name: str) -> str | None:
    return fields[name][0] if name in fields else None


def _milliseconds(value: str | None, block: bytes) -> int | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise MalformedStream(f"retry is not a number in {block!r}")
    return int(value)
