"""What waits in GET streams that nobody reads comes on one that is read."""

from __future__ import annotations

from collections import defaultdict
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
    ring(state, [read[-1].name])
    return [read[-1].name]
