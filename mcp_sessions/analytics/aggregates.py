"""The aggregates of a span of time, and how two consecutive spans are added.

Spans are half-open: an instant belongs to the span that begins with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Final

HOUR: Final = timedelta(hours=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

RATIO: Final = 1.02
"""Of the limits of a class of durations: who takes its middle for a duration in it is off by 1 % at most."""
MIN_MICROSECONDS: Final = 1000
"""Microseconds: what is shorter is class 0, and counts as nothing."""

Breakdown = Mapping[str, Mapping[str, int]]
"""client, version, revision, dialect, reason → name → how many sessions."""


@dataclass(frozen=True, slots=True)
class Aggregates:
    """Of one span, of one endpoint or all.

    Durations, requests and connections are of the sessions that ended in it.
    """

    opened: int = 0
    ended: int = 0
    live: int = 0
    """Live sessions just before the span began."""
    peak: int = 0
    """Most live sessions at one time."""
    duration: int = 0
    """Microseconds, of all together."""
    requests: int = 0
    connections: int = 0
    kinds: Breakdown = field(default_factory=dict)
    """Of the sessions that were opened; `reason` of those that ended."""
    durations: Mapping[int, int] = field(default_factory=dict)
    """Class → how many."""

    def then(self, after: Aggregates) -> Aggregates:
        """The aggregates of this span and the next one together, as exact as both are."""
        return Aggregates(
            self.opened + after.opened,
            self.ended + after.ended,
            self.live,
            max(self.peak, after.peak),
            self.duration + after.duration,
            self.requests + after.requests,
            self.connections + after.connections,
            _added_kinds(self.kinds, after.kinds),
            Counter(self.durations) + Counter(after.durations),
        )


def _added_kinds(before: Breakdown, after: Breakdown) -> Breakdown:
    names = before.keys() | after.keys()
    return {name: Counter(before.get(name, {})) + Counter(after.get(name, {})) for name in names}


def middle_of(number: int) -> float:
    """A class's duration, in microseconds."""
    return MIN_MICROSECONDS * RATIO ** (number - 0.5) if number else 0.0


def percentile(classes: Mapping[int, int], percent: int) -> float:
    """In microseconds, 1 % more or less: the duration that stands so far behind the shortest of some."""
    rank = percent * (sum(classes.values()) - 1) // 100
    up_to = accumulate(classes[number] for number in sorted(classes))
    return next(
        middle_of(number) for number, count in zip(sorted(classes), up_to, strict=True) if rank < count
    )


def hour_of(at: datetime) -> datetime:
    """When the hour began in which this is."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
