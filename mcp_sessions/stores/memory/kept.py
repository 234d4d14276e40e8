"""What a store keeps, as plain values that are changed in place."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from mcp_sessions.records import Event, StreamKind

LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Ranking:
    """Keys by their ranks, the least first; keys of one rank in their own order.

    To put or drop one costs a few comparisons and the shift of a list, which of 10,000 takes microseconds.
    """

    _ranks: dict[str, Any] = field(default_factory=dict)
    _order: list[tuple[Any, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[str]:
        return (key for _, key in self._order)

    def put(self, key: str, rank: Any) -> None:
        """Give the key a rank; an earlier one is forgotten."""
        self.drop(key)
        self._ranks[key] = rank
        insort(self._order, (rank, key))

    def drop(self, key: str) -> None:
        if key in self._ranks:
            del self._order[bisect_left(self._order, (self._ranks.pop(key), key))]

    def count_above(self, rank: Any) -> int:
        """How many keys have a greater rank."""
        return len(self._order) - bisect_right(self._order, rank, key=lambda entry: entry[0])


@dataclass(slots=True)
class StoredEvent:
    """An event of a stream; `number` is its place among all events of the store."""

    event: Event
    number: int
    created_at: datetime

    @property
    def position(self) -> int:
        return self.event.position


@dataclass(slots=True)
class Stream:
    """One stream; see records.StreamRecord. Its events are in the order of their positions."""

    name: str
    session_key: str
    kind: StreamKind
    request_ids: tuple[int | str, ...] = ()
    writer: str = ""
    reader: str = ""
    created_at: datetime = LONG_AGO
    idle_since: datetime | None = None
    """Since when it is neither read nor written."""
    number: int = 0
    position: int = 0
    delivered: int = 0
    trimmed: int = 0
    attached_at: datetime | None = None
    ended_at: datetime | None = None
    events: list[StoredEvent] = field(default_factory=list)

    def behind(self, position: int) -> int:
        """The index of the first event with a greater position."""
        return bisect_right(self.events, position, key=lambda stored: stored.position)

    def trim(self, last: int) -> int:
        """Delete the events up to a position, and remember that; how many there were."""
        deleted = self.behind(last)
        del self.events[:deleted]
        if deleted:
            self.trimmed = max(self.trimmed, last)
        return deleted

    @property
    def newest_delivered(self) -> int:
        """The number of the last event that was delivered and is kept; 0 without one."""
        before = self.behind(self.delivered)
        return self.events[before - 1].number if before else 0

    @property
    def is_waiting(self) -> bool:
        """Whether something in it was not sent to its client, and nobody reads it."""
        return not self.reader and self.position > self.delivered

    @property
    def is_busy(self) -> bool:
        """Whether it is read on GET, or calls run for it."""
        return self.ended_at is None and bool(self.writer or (self.kind == "get" and self.reader))


@dataclass(slots=True)
class OnceCall:
    """A call that happens once; see records.Claim."""

    worker: str
    token: str
    keep_seconds: float
    expires_at: datetime
    outcome: str = ""


@dataclass(slots=True)
class Session:
    """One session with all that is its own; see records.SessionRecord."""

    number: int
    key: str
    digest: str
    server: str
    owner: str
    principal: str
    created_at: datetime
    last_accessed_at: datetime
    expires_at: datetime
    timeout_at: datetime
    requests: int
    connections: int
    ended_at: datetime | None
    end_reason: str
    metadata: str
    """JSON."""
    data: str
    """As SESSION_SERIALIZER wrote it."""
    lease_token: str = ""
    lease_until: datetime | None = None
    warned_for: datetime | None = None
    previous_digest: str = ""
    previous_until: datetime | None = None
    sealed_id: str = ""
    inbox: int = 0
    """The last position of its inbox, which is made for a message and deleted when it is not used."""
    pending: dict[str, datetime] = field(default_factory=dict)
    """Requests to its client, and until when each is waited for."""
    once: dict[str, OnceCall] = field(default_factory=dict)
    """Its calls that happen once, by name."""
    subscriptions: set[str] = field(default_factory=set)
    streams: dict[str, Stream] = field(default_factory=dict)
    get_streams: dict[str, Stream] = field(default_factory=dict)
    """Those of its streams that are GET streams and have not ended; see `open_streams`."""

    def is_live(self, now: datetime) -> bool:
        return self.ended_at is None and now < self.expires_at

    def is_warned_of(self, end: datetime) -> bool:
        return self.warned_for is not None and self.warned_for >= end

    @property
    def is_busy(self) -> bool:
        return any(stream.is_busy for stream in self.streams.values())

    def open_streams(self) -> list[Stream]:
        """Its GET streams that have not ended; the one that was attached last is the last."""
        return sorted(self.get_streams.values(), key=lambda each: (each.attached_at or LONG_AGO, each.number))


@dataclass(slots=True)
class Change:
    """The names of what one transaction added to or ended."""

    number: int
    names: tuple[str, ...]
    token: str
    at: datetime


@dataclass(slots=True)
class Worker:
    """A process that reads streams or runs calls."""

    heartbeat_at: datetime
    lost_at: datetime | None = None
    is_forgotten: bool = False


@dataclass(slots=True)
class Group:
    """The sessions of a server, or of one principal there, that have not ended: by their ends, and by use."""

    by_end: Ranking = field(default_factory=Ranking)
    by_use: Ranking = field(default_factory=Ranking)
