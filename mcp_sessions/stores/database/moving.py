"""What waits in GET streams that nobody reads comes on one that is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import attrgetter, or_

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Max, Q
from django.utils import timezone

from mcp_sessions.models import Stream, StreamEvent
from mcp_sessions.stores.database.locking import (
    LockedStream,
    chunks,
    lock_sessions,
    lock_streams,
    set_numbers,
)
from mcp_sessions.stores.database.ringing import ring
from mcp_sessions.stores.database.verbs import writing


def get_streams(alias: str, ids: Iterable[int]) -> dict[int, list[str]]:
    """The GET streams of sessions that have not ended; the one that was attached last is the last."""
    found: dict[int, list[str]] = defaultdict(list)
    rows = Stream.objects.using(alias).unended().filter(kind="get", session__in=list(ids))
    ordered = rows.order_by(F("attached_at").asc(nulls_first=True), "pk")
    for session, name in ordered.values_list("session", "name"):
        found[session].append(name)
    return found


@dataclass(slots=True)
class Left:
    """Names of streams: those that were left, and those to which something was moved."""

    left: list[str]
    moved: list[str] = field(default_factory=list)


def leave(alias: str, worker: str, names: Sequence[str], sent: Mapping[str, int] | None = None) -> Left:
    """The worker reads these streams no more; what waits there is handed over in the same step.

    Where nothing waits, nobody has to wait for the session. Elsewhere the session is locked first.
    """
    with writing(alias) as connection:
        mine = [stream for stream in lock_streams(connection, names) if stream.reader == worker]
        _give_back(connection, mine, sent or {})
        set_unread(connection, [stream for stream in mine if not stream.is_waiting])
    left = Left([stream.name for stream in mine if not stream.is_waiting])
    if rest := [stream.name for stream in mine if stream.is_waiting]:
        _hand_over(alias, worker, rest, sent or {}, left)
    return left


def _hand_over(alias: str, worker: str, names: Sequence[str], sent: Mapping[str, int], left: Left) -> None:
    """A client that reads another stream of its session need not open a third."""
    with writing(alias) as connection:
        rows = Stream.objects.using(alias).unended().filter(kind="get", name__in=names)
        keys = set(rows.values_list("session__key", flat=True))
        sessions = lock_sessions(alias, keys).values() if keys else ()
        of_session = get_streams(alias, [session.pk for session in sessions])
        siblings = {name for found in of_session.values() for name in found}
        locked = {stream.name: stream for stream in lock_streams(connection, {*names, *siblings})}
        mine = [each for name in names if (each := locked.get(name)) and each.reader == worker]
        _give_back(connection, mine, sent)
        set_unread(connection, mine)
        left.left += [stream.name for stream in mine]
        for found in of_session.values():
            streams = [each for name in found if (each := locked.get(name)) and not each.has_ended]
            read = [stream for stream in streams if stream.reader]
            if read and move(connection, read[-1], [each for each in streams if not each.reader]):
                left.moved.append(read[-1].name)
        if left.moved:
            ring(connection, left.moved)


def _give_back(
    connection: BaseDatabaseWrapper, streams: Iterable[LockedStream], sent: Mapping[str, int]
) -> None:
    """What was taken and not sent waits again, where it is known how far a stream was sent."""
    known = [stream for stream in streams if stream.name in sent]
    for stream in known:
        stream.delivered = max(sent[stream.name], stream.trimmed)
    _pass_over_moved(connection, [stream for stream in known if stream.is_waiting])
    set_numbers(connection, "delivered", {stream.id: stream.delivered for stream in known})


def _pass_over_moved(connection: BaseDatabaseWrapper, streams: Sequence[LockedStream]) -> None:
    """Where all that was behind has moved to another stream, nothing waits."""
    for some in chunks(streams):
        events = StreamEvent.objects.using(connection.alias).filter(stream__in=[stream.id for stream in some])
        last = dict(events.values_list("stream").annotate(Max("position")))
        for stream in some:
            if last.get(stream.id, 0) <= stream.delivered:
                stream.delivered = stream.position


def set_unread(connection: BaseDatabaseWrapper, streams: Sequence[LockedStream]) -> None:
    for some in chunks([stream.id for stream in streams]):
        rows = Stream.objects.using(connection.alias).filter(pk__in=some)
        rows.update(reader="", idle_since=timezone.now())
    for stream in streams:
        stream.reader = ""


def move(connection: BaseDatabaseWrapper, target: LockedStream, streams: Iterable[LockedStream]) -> int:
    """Give what waits in these streams the next positions of the target; how many."""
    sources = [each for each in streams if each is not target and each.is_waiting]
    if not sources:
        return 0
    events = StreamEvent.objects.using(connection.alias)
    waiting: list[StreamEvent] = []
    for some in chunks(sources):
        behind = [Q(stream=stream.id, position__gt=stream.delivered) for stream in some]
        waiting += events.filter(reduce(or_, behind)).only("pk")
    waiting.sort(key=attrgetter("pk"))
    for event in waiting:
        target.position += 1
        event.stream_id, event.position = target.id, target.position
    events.bulk_update(waiting, ["stream", "position"], batch_size=100)
    set_numbers(connection, "position", {target.id: target.position})
    # Nothing waits there any more; what comes later does again.
    set_numbers(connection, "delivered", {stream.id: stream.position for stream in sources})
    return len(waiting)
