"""What a worker took from GET streams and did not send: how much of it waits again when it leaves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Max, Q

from mcp_sessions.models import StreamEvent
from mcp_sessions.stores.database.locking import LockedStream, chunks, set_numbers


def give_back(
    connection: BaseDatabaseWrapper, streams: Iterable[LockedStream], sent: Mapping[str, int]
) -> None:
    """What was taken and not sent waits again, where it is known how far a stream was sent. Not saved yet."""
    known = [stream for stream in streams if stream.name in sent]
    for stream in known:
        stream.delivered = max(sent[stream.name], stream.trimmed)
    _pass_over_moved(connection, [stream for stream in known if stream.is_waiting])


def save_delivered(connection: BaseDatabaseWrapper, streams: Iterable[LockedStream]) -> None:
    set_numbers(connection, "delivered", {stream.id: stream.delivered for stream in streams})


def keep_order(
    connection: BaseDatabaseWrapper, left: Sequence[LockedStream], siblings: Sequence[LockedStream]
) -> None:
    """Events stay in the stream that was left if a later one was taken from another stream of the session.

    They count as delivered there: who resumes the stream gets them, and no client gets them too late.
    """
    for stream in left:
        if stream.is_waiting and (last := _last_too_late(connection, stream, siblings)):
            stream.delivered = last
            _pass_over_moved(connection, [stream])
            save_delivered(connection, [stream])


def _last_too_late(
    connection: BaseDatabaseWrapper, stream: LockedStream, siblings: Iterable[LockedStream]
) -> int | None:
    """The position of the last event that waits and is older than one that another stream has delivered."""
    events = StreamEvent.objects.using(connection.alias)
    newest: int = 0
    for each in siblings:
        if each is not stream and each.delivered:
            delivered = events.filter(stream=each.id, position__lte=each.delivered)
            newest = max(newest, delivered.aggregate(last=Max("pk"))["last"] or 0)
    waiting = events.filter(Q(stream=stream.id, position__gt=stream.delivered, pk__lt=newest))
    last: int | None = waiting.aggregate(last=Max("position"))["last"] if newest else None
    return last


def _pass_over_moved(connection: BaseDatabaseWrapper, streams: Sequence[LockedStream]) -> None:
    """Where all that was behind has moved to another stream, nothing waits."""
    for some in chunks(streams):
        events = StreamEvent.objects.using(connection.alias).filter(stream__in=[stream.id for stream in some])
        last = dict(events.values_list("stream").annotate(Max("position")))
        for stream in some:
            if last.get(stream.id, 0) <= stream.delivered:
                stream.delivered = stream.position
