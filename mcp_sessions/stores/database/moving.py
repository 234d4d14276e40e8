"""What waits in GET streams that nobody reads comes on one that is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import reduce
from operator import or_

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Max, Q
from django.utils import timezone

from mcp_sessions.models import Stream, StreamEvent, StreamQuerySet
from mcp_sessions.records import has_place_from_start
from mcp_sessions.stores.database.locking import LockedStream, lock_session, lock_streams, set_numbers
from mcp_sessions.stores.database.ringing import ring
from mcp_sessions.stores.database.verbs import writing
from mcp_sessions.stores.storable import readable


def get_streams(mine: StreamQuerySet, row: Stream) -> set[str]:
    """What attaching to a stream concerns: if it is a GET stream, the session's others too."""
    if row.kind != "get":
        return {row.name}
    return {row.name, *mine.unended().filter(kind="get").values_list("name", flat=True)}


def leave(connection: BaseDatabaseWrapper, streams: Sequence[LockedStream]) -> None:
    """Nobody reads these streams any more."""
    rows = Stream.objects.using(connection.alias).filter(pk__in=[stream.id for stream in streams])
    rows.update(reader="", idle_since=timezone.now())


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
            sent[pk] = max(waiting[pk].delivered, last or 0)
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


def hand_over(alias: str, left: Iterable[str]) -> list[str]:
    """After streams were left: a client that reads another one of its session need not open a third.

    The streams to which something was moved.
    """
    streams = Stream.objects.using(alias).unended().filter(kind="get")
    waiting = streams.unread().filter(name__in=list(left), position__gt=F("delivered"))
    keys = sorted(set(waiting.values_list("session__key", flat=True)))
    return [name for key in keys for name in _hand_over(alias, key, streams.filter(session__key=key))]


def _hand_over(alias: str, session_key: str, mine: StreamQuerySet) -> list[str]:
    with writing(alias) as connection:
        if lock_session(alias, session_key, "id") is None:
            return []
        names = mine.order_by(F("attached_at").asc(nulls_first=True), "pk").values_list("name", flat=True)
        ordered = list(names)
        locked = {stream.name: stream for stream in lock_streams(connection, ordered)}
        read = [locked[name] for name in ordered if name in locked and locked[name].reader]
        if not read or not move(connection, read[-1], locked.values()):
            return []
        ring(connection, [read[-1].name], connection.ops.adapt_datetimefield_value(timezone.now()))
        return [read[-1].name]
