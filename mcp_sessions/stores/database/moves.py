"""Moves of events between the GET streams of a session.

What waits in streams that nobody reads moves to one that is read; what was taken and not sent waits again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import attrgetter, or_

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Max, Q
from django.utils import timezone

from mcp_sessions.models import Stream, StreamEvent
from mcp_sessions.records import Displaced
from mcp_sessions.stores.database.locks import LockedStream, lock_sessions, lock_streams
from mcp_sessions.stores.database.statements import (
    add_change,
    chunks,
    delete_rows,
    fetch,
    marks,
    set_numbers,
    table,
)
from mcp_sessions.stores.database.transactions import writing


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

    They count as delivered there. A client that resumes the stream gets them; no other gets them too late.
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


def get_streams(connection: BaseDatabaseWrapper, ids: Sequence[int]) -> dict[int, list[str]]:
    """The GET streams of sessions that have not ended; the one that was attached last is the last."""
    found: dict[int, list[str]] = defaultdict(list)
    for some in chunks(ids):
        rows = fetch(
            connection,
            f"SELECT session_id, name FROM {table(Stream)} WHERE session_id IN ({marks(some)})"
            " AND kind = 'get' AND ended_at IS NULL ORDER BY attached_at IS NOT NULL, attached_at, id",
            some,
        )
        for session, name in rows:
            found[session].append(name)
    return found


@dataclass(slots=True)
class Left:
    """Names of streams: those that were left, and those to which something was moved."""

    left: list[str]
    moved: list[str] = field(default_factory=list)


def leave(alias: str, worker: str, names: Sequence[str], sent: Mapping[str, int] | None = None) -> Left:
    """The worker stops reading these streams; what waits there moves to another stream in the same step.

    A stream in which nothing waits needs no lock on its session. For the others the session is locked first.
    """
    with writing(alias) as connection:
        mine = [stream for stream in lock_streams(connection, names) if stream.reader == worker]
        give_back(connection, mine, sent or {})
        done = [stream for stream in mine if not stream.is_waiting]
        save_delivered(connection, done)
        set_unread(connection, done)
    left = Left([stream.name for stream in done])
    if rest := [stream.name for stream in mine if stream.is_waiting]:
        _hand_over(alias, worker, rest, sent or {}, left)
    return left


def _hand_over(alias: str, worker: str, names: Sequence[str], sent: Mapping[str, int], left: Left) -> None:
    """A client that reads another stream of its session need not open a third."""
    with writing(alias) as connection:
        rows = Stream.objects.using(alias).unended().filter(kind="get", name__in=names)
        keys = set(rows.values_list("session__key", flat=True))
        sessions = lock_sessions(alias, keys).values() if keys else ()
        of_session = get_streams(connection, [session.pk for session in sessions])
        siblings = {name for found in of_session.values() for name in found}
        locked = {stream.name: stream for stream in lock_streams(connection, {*names, *siblings})}
        mine = [each for name in names if (each := locked.get(name)) and each.reader == worker]
        give_back(connection, mine, sent)
        save_delivered(connection, mine)
        set_unread(connection, mine)
        left.left += [stream.name for stream in mine]
        for found in of_session.values():
            streams = [each for name in found if (each := locked.get(name)) and not each.has_ended]
            keep_order(connection, [stream for stream in streams if stream in mine], streams)
            read = [stream for stream in streams if stream.reader]
            if read and move(connection, read[-1], [each for each in streams if not each.reader]):
                left.moved.append(read[-1].name)
        if left.moved:
            add_change(connection, left.moved)


def set_unread(connection: BaseDatabaseWrapper, streams: Sequence[LockedStream]) -> None:
    for some in chunks([stream.id for stream in streams]):
        rows = Stream.objects.using(connection.alias).filter(pk__in=some)
        rows.update(reader="", idle_since=timezone.now())
    for stream in streams:
        stream.reader = ""


def move(connection: BaseDatabaseWrapper, target: LockedStream, streams: Iterable[LockedStream]) -> int:
    """Give what waits in these streams the next positions of the target; how many events that were.

    Events come in the order in which they were stored: those that already wait in the target get new
    positions too, if something older is moved there.
    """
    sources = [each for each in streams if each is not target and each.is_waiting]
    if not sources:
        return 0
    moved = _waiting_in(connection, sources)
    own = _waiting_in(connection, [target]) if target.is_waiting else []
    if own and moved and moved[0].pk < own[-1].pk:
        # Its reader may be about to take them from their old positions, and is refused: `delivered` changes.
        moved = sorted([*moved, *own], key=attrgetter("pk"))
        sources.append(target)
    set_numbers(connection, "delivered", {stream.id: stream.position for stream in sources})
    for event in moved:
        target.position += 1
        event.stream_id, event.position = target.id, target.position
    events = StreamEvent.objects.using(connection.alias)
    events.bulk_update(moved, ["stream", "position"], batch_size=100)
    set_numbers(connection, "position", {target.id: target.position})
    return len(moved)


def _waiting_in(connection: BaseDatabaseWrapper, streams: Sequence[LockedStream]) -> list[StreamEvent]:
    """The events behind `delivered`, in the order in which they were stored."""
    events = StreamEvent.objects.using(connection.alias)
    waiting: list[StreamEvent] = []
    for some in chunks(streams):
        behind = [Q(stream=stream.id, position__gt=stream.delivered) for stream in some]
        waiting += events.filter(reduce(or_, behind)).only("pk")
    return sorted(waiting, key=attrgetter("pk"))


def displace_oldest(
    connection: BaseDatabaseWrapper, others: Sequence[LockedStream], limit: int | None
) -> Sequence[Displaced]:
    """Nobody reads the session's oldest GET streams any more; the one just attached is the newest."""
    read = [stream for stream in others if stream.reader]
    excess = read[: max(0, len(read) + 1 - limit)] if limit else []
    rows = Stream.objects.using(connection.alias).filter(pk__in=[stream.id for stream in excess])
    since = dict(rows.values_list("pk", "attached_at"))
    displaced = [Displaced(each.name, each.reader, since[each.id], "limit") for each in excess]
    set_unread(connection, excess)
    return displaced


def delete_left(connection: BaseDatabaseWrapper, others: Iterable[LockedStream], keep: int | None) -> None:
    """Of the streams that nobody reads, and that nothing waits in any more, only the newest stay."""
    left = [stream.id for stream in others if not stream.reader]
    surplus = left[: max(0, len(left) - keep)] if keep is not None else []
    delete_rows(connection, StreamEvent, "stream_id", surplus)
    delete_rows(connection, Stream, "id", surplus)
