from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.timesince import timesince, timeuntil

from mcp_sessions.exceptions import SessionNotFound
from mcp_sessions.lifecycle import Inspection, inspect_session
from mcp_sessions.management.operating import NOT_FOUND, OperatorCommand
from mcp_sessions.records import StreamRecord, instant


class Command(OperatorCommand):
    help = "Shows one MCP session: its state, its client, its times, its streams and its data."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("key", metavar="KEY", help="The session's public name, or its full id.")

    def operate(self, **options: Any) -> None:
        try:
            found = inspect_session(options["key"])
        except SessionNotFound as error:
            # What was given may be an id: it is not repeated.
            raise CommandError("There is no such session.", returncode=NOT_FOUND) from error
        self.show("\n".join(_lines(found)), found.as_json(), options)


def _lines(found: Inspection) -> Iterator[str]:
    session = found.session
    yield f"Session {session.key}: {found.state}"
    for name, value in _facts(found):
        if value:
            yield f"  {name:<12}{value}"
    yield "Streams" if found.streams else "No streams"
    for stream in found.streams:
        yield f"  {stream.name}  {_of_stream(stream)}"
    yield "Data"
    yield json.dumps(dict(session.data), indent=2, ensure_ascii=False, sort_keys=True, default=str)


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    session, metadata = found.session, found.session.metadata
    yield "endpoint", session.server
    yield "owner", session.owner
    yield "client", session.client
    yield "speaks", f"{session.protocol_version} ({session.dialect})".strip()
    yield "address", str(metadata.get("address", ""))
    yield "user agent", str(metadata.get("user_agent", ""))
    yield "created", _at(session.created_at, found.at)
    yield "last seen", _at(session.last_accessed_at, found.at)
    yield "expires", _at(session.expires_at, found.at) if session.ended_at is None else ""
    yield "ended", f"{_at(session.ended_at, found.at)}: {session.end_reason}" if session.ended_at else ""
    yield "counts", f"requests: {session.requests}, connections: {session.connections}, since it was opened"
    yield "open now", f"connections: {len(found.connections)}, running calls: {found.running_calls}"


def _of_stream(stream: StreamRecord) -> str:
    parts = [stream.kind, f"{stream.delivered} of {stream.position} events delivered"]
    if stream.ended_at is not None:
        parts.append("ended")
    if stream.reader:
        parts.append(f"read at worker {stream.reader}")
    if stream.writer:
        parts.append(f"written by worker {stream.writer}")
    return ", ".join(parts)


def _at(at: datetime, now: datetime) -> str:
    """An instant in UTC, and how far away it is."""
    # Django's words have a space in them that no line breaks at.
    away = f"in {timeuntil(at, now)}" if at > now else f"{timesince(at, now)} ago"
    return f"{instant(at)[:19].replace('T', ' ')} UTC ({away})".replace("\xa0", " ")
