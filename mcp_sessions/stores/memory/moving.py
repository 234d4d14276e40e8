"""What waits in GET streams that nobody reads comes on one that is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter

from django.utils import timezone

from mcp_sessions.stores.memory.kept import StoredEvent, Stream
from mcp_sessions.stores.memory.ringing import ring
from mcp_sessions.stores.memory.state import State


def leave(streams: Iterable[Stream]) -> None:
    """Nobody reads these streams any more."""
    for stream in streams:
        stream.reader, stream.idle_since = "", timezone.now()


def move(target: Stream, streams: Iterable[Stream]) -> bool:
    """Give what waits in these streams the next positions of the target; whether anything does."""
    waiting: list[StoredEvent] = []
    for stream in streams:
        if stream is not target:
            first = stream.behind(stream.delivered)
            waiting += stream.events[first:]
            del stream.events[first:]
            # Nothing waits there any more; what comes later does again.
            stream.delivered = stream.position
    for stored in sorted(waiting, key=attrgetter("number")):
        target.position += 1
        stored.event = replace(stored.event, position=target.position)
        target.events.append(stored)
    return bool(waiting)


def hand_over(state: State, left: Iterable[Stream]) -> list[str]:
    """After streams were left: a client that reads another one of its session need not open a third.

    The streams to which something was moved.
    """
    waiting = [s for s in left if s.kind == "get" and s.ended_at is None and s.is_waiting]
    keys = {stream.session_key for stream in waiting}
    return [name for key in sorted(keys) for name in _hand_over(state, key)]


def _hand_over(state: State, key: str) -> list[str]:
    if (session := state.unended(key)) is None:
        return []
    streams = session.open_streams()
    read = [stream for stream in streams if stream.reader]
    if not read or not move(read[-1], [stream for stream in streams if not stream.reader]):
        return []
    ring(state, [read[-1].name])
    return [read[-1].name]
