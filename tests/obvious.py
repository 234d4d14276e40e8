"""Figures on sessions, counted the slow and obvious way, out of a list."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from mcp_sessions.models import Session

NOW = datetime(2026, 11, 22, 15, 20, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CLIENTS = [
    {},
    {"client": {"name": "Claude", "version": "1.2"}, "protocol_version": "2025-11-25"},
    {"client": {"name": "Claude", "version": "2"}, "protocol_version": "2025-06-18"},
    {"client": {"name": "claude"}, "protocol_version": "2025-06-18"},
    {"client": {"name": " "}, "dialect": "guide"},
    {"client": {"name": "Sîne 'quotes' %s \"", "version": "ü"}, "dialect": "guide"},
]
NAMES = [
    ("unknown", "unknown", "unknown", "specification"),
    ("Claude", "Claude 1.2", "2025-11-25", "specification"),
    ("Claude", "Claude 2", "2025-06-18", "specification"),
    ("claude", "claude", "2025-06-18", "specification"),
    ("unknown", "unknown", "unknown", "guide"),
    ("Sîne 'quotes' %s \"", "Sîne 'quotes' %s \" ü", "unknown", "guide"),
]


@dataclass(frozen=True)
class Life:
    """One session: `ended` if somebody has ended it, else its time runs out at `expires`."""

    server: str
    created: datetime
    expires: datetime
    ended: datetime | None
    reason: str
    is_idle: bool
    requests: int
    connections: int
    client: int

    @property
    def over(self) -> datetime:
        return self.ended or self.expires

    @property
    def why(self) -> str:
        return self.reason if self.ended else ("idle" if self.is_idle else "expired")

    def row(self, number: int) -> Session:
        return Session(
            key=f"key{number}",
            digest=f"{number:064}",
            server=self.server,
            created_at=self.created,
            last_accessed_at=self.created,
            expires_at=self.expires,
            timeout_at=self.expires + timedelta(hours=1) if self.is_idle else self.expires,
            ended_at=self.ended,
            end_reason=self.reason if self.ended else "",
            requests=self.requests,
            connections=self.connections,
            metadata=CLIENTS[self.client],
        )


@st.composite
def lives(draw: Callable[[Any], Any], hours: int) -> Life:
    """Mostly of whole quarters of an hour, so that much happens at one instant."""
    odd = st.sampled_from([timedelta(0), timedelta(0), MICROSECOND, timedelta(seconds=1.25), -MICROSECOND])
    quarters = st.integers(0, 4 * hours)
    created = NOW - timedelta(hours=hours) + timedelta(minutes=15) * draw(quarters) - timedelta(minutes=20)
    created += draw(odd)
    over = max(created, created + timedelta(minutes=15) * draw(st.integers(0, 20)) + draw(odd))
    return Life(
        server=draw(st.sampled_from(["/mcp", "/other"])),
        created=created,
        expires=over,
        ended=over if over <= NOW and draw(st.booleans()) else None,
        reason=draw(st.sampled_from(["deleted", "operator", "my own"])),
        is_idle=draw(st.booleans()),
        requests=draw(st.integers(0, 5)),
        connections=draw(st.integers(0, 3)),
        client=draw(st.integers(0, len(CLIENTS) - 1)),
    )


@dataclass(frozen=True)
class Obvious:
    """What the tests compare with."""

    all: Sequence[Life]
    since: datetime
    until: datetime

    def _within(self, at: datetime) -> bool:
        return self.since <= at < self.until

    @property
    def opened(self) -> list[Life]:
        return [each for each in self.all if self._within(each.created)]

    @property
    def ended(self) -> list[Life]:
        return [each for each in self.all if self._within(each.over)]

    @property
    def durations(self) -> list[int]:
        """Microseconds, the shortest first."""
        return sorted((each.over - each.created) // MICROSECOND for each in self.ended)

    def live_at(self, at: datetime) -> int:
        return sum(each.created <= at < each.over for each in self.all)

    @property
    def peak(self) -> int:
        """It is reached when one begins, or at once."""
        return max(self.live_at(at) for at in [self.since, *(each.created for each in self.opened)])

    def percentile(self, percent: int) -> float:
        place = percent * (len(self.durations) - 1) / 100
        low, high = self.durations[math.floor(place)], self.durations[math.ceil(place)]
        return low + (high - low) * (place - math.floor(place))

    @property
    def kinds(self) -> dict[str, Counter[str]]:
        names = zip(("client", "version", "revision", "dialect"), range(4), strict=True)
        kinds = {kind: Counter(NAMES[each.client][n] for each in self.opened) for kind, n in names}
        return {**kinds, "reason": Counter(each.why for each in self.ended)}

    def steps(self, step: timedelta) -> dict[datetime, tuple[int, int]]:
        """Opened and ended in each in which something happened."""

        def begin(at: datetime) -> datetime:
            return at - (at - datetime(1970, 1, 1, tzinfo=UTC)) % step

        opened = Counter(begin(each.created) for each in self.opened)
        ended = Counter(begin(each.over) for each in self.ended)
        return {at: (opened[at], ended[at]) for at in sorted({*opened, *ended})}
