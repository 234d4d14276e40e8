"""What waits in GET streams that nobody reads comes on one that is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Max, Q
from django.utils import timezone

from mcp_sessions.models import Session, Stream, StreamEvent
from mcp_sessions.records import has_place_from_start
from mcp_sessions.stores.database.locking import LockedStream, lock_sessions, lock_streams, set_numbers
from mcp_sessions.stores.database.ringing import ring
from mcp_sessions.stores.database.verbs import writing
from mcp_sessions.stores.storable import readable


def get_streams(alias: str, sessions: Iterable[Session]) -> dict[int, list[str]]:
    """The GET streams of sessions that have not ended; the one that was attached last is the last."""
    found: dict[int, list[str]] = defaultdict(list)
    ids = [session.pk for session in sessions]
    rows = Stream.objects.using(alias).unended().filter(kind="get", session__in=ids)
    ordered = rows.order_by(F("attached_at").asc(nulls_first=True), "pk")
    for session, name in ordered.values_list("session", "name"):
        found[session].append(name)
    return found


Marking = Callable[[BaseDatabaseWrapper, Sequence[LockedStream]], None]
"""What is done to the streams that somebody leaves, before it is seen what waits there; twice is once."""


@dataclass(slots=True)
class Left:
    """Names of streams: those that were left, and those to which something was moved."""

    left: list[str]
    moved: list[str] = field(default_factory=list)


def leave(alias: str, worker: str, names: Sequence[str], marking: Marking) -> Left:
    """The worker reads these streams no more; what waits there is handed over in the same step.

    Where nothing waits, nobody has to wait for the session. Elsewhere the session is locked first.
    """
    with writing(alias) as connection:
        mine = [stream for stream in lock_streams(connection, names) if stream.reader == worker]
        marking(connection, mine)
        done = [stream for stream in mine if stream.position <= stream.delivered]
        _set_unread(connection, done)
    left = Left([stream.name for stream in done])
    if rest := [stream.name for stream in mine if stream.position > stream.delivered]:
        _hand_over(alias, worker, rest, marking, left)
    return left


def _hand_over(alias: str, worker: str, names: Sequence[str], marking: Marking, left: Left) -> None:
    """A client that reads another stream of its session need not open a third."""
    with writing(alias) as connection:
        rows = Stream.objects.using(alias).unended().filter(kind="get", name__in=names)
        keys = set(rows.values_list("session__key", flat=True))
        of_session = get_streams(alias, lock_sessions(alias, keys).values()) if keys else {}
        siblings = {name for found in of_session.values() for name in found}
        locked = {stream.name: stream for stream in lock_streams(connection, {*names, *siblings})}
        mine = [each for name in names if (each := locked.get(name)) and each.reader == worker]
        marking(connection, mine)
        _set_unread(connection, mine)
        left.left += [stream.name for stream in mine]
        for found in of_session.values():
            streams = [each for name in found if (each := locked.get(name)) and not each.has_ended]
            read = [stream for stream in streams if stream.reader]
            if read and move(connection, read[-1], streams):
                left.moved.append(read[-1].name)
        if left.moved:
            ring(connection, left.moved, connection.ops.adapt_datetimefield_value(timezone.now()))


def _set_unread(connection: BaseDatabaseWrapper, streams: Sequence[LockedStream]) -> None:
    rows = Stream.objects.using(connection.alias).filter(pk__in=[stream.id for stream in streams])
    rows.update(reader="", idle_since=timezone.now())
    for stream in streams:
        stream.reader = ""


def keep_uncertain(connection: BaseDatabaseWrapper, streams: Sequence[LockedStream], until: datetime) -> None:
    """Leave in these streams what their dead reader may have sent: who resumes them says what has arrived.

    Who has been sent no event id has nothing to come back with, and gets all of it elsewhere.
    """
    events = StreamEvent.objects.using(connection.alias).filter(created_at__lte=until)
    waiting = {each.id: each for each in streams if each.position > each.delivered}
    rows = Stream.objects.using(connection.alias).filter(pk__in=waiting, kind="get")
    sent: dict[int, int] = {}
    for pk, metadata in rows.values_list("pk", "session__metadata"):
        if waiting[pk].delivered > 0 or has_place_from_start(readable(metadata)):
            last = events.filter(stream=pk).aggregate(last=Max("position"))["last"]
            waiting[pk].delivered = sent[pk] = max(waiting[pk].delivered, last or 0)
    set_numbers(connection, "delivered", sent)


def move(connection: BaseDatabaseWrapper, target: LockedStream, streams: Iterable[LockedStream]) -> int:
    """Give what waits in the unread ones of these streams the next positions of the target; how many."""
    sources = [each for each in streams if not each.reader and each.position > each.delivered]
    if not sources:
        return 0
    events = StreamEvent.objects.using(connection.alias)
    behind = [Q(stream=stream.id, position__gt=stream.delivered) for stream in sources]
    waiting = list(events.filter(reduce(or_, behind)).order_by("pk").only("pk"))
    for event in waiting:
        target.position += 1
        event.stream_id, event.position = target.id, target.position
    events.bulk_update(waiting, ["stream", "position"], batch_size=100)
    set_numbers(connection, "position", {target.id: target.position})
    # Nothing waits there any more; what comes later does again.
    set_numbers(connection, "delivered", {stream.id: stream.position for stream in sources})
    return len(waiting)
