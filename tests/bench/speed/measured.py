"""What came of a row for one number of connections: the ratios of the two sides, round by round."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.speed.loads import Load
from tests.bench.speed.rows import Row

HEAD: Final = (
    *("what", "of how many", "mcp_sessions", "the other", "ratio", "spread", "at least"),
    *("p99, ratio", "CPU of one", "CPU, ratio"),
)
KB: Final = 1000
MB: Final = 1_000_000
MAX_P99: Final = 1.0


@dataclass(frozen=True)
class Measured:
    row: Row
    number: int
    own: Sequence[Load]
    other: Sequence[Load] = ()

    @property
    def ratios(self) -> list[float]:
        """Of the rates, or of the costs if the row is about those; without another side, shares of a core."""
        if not self.other:
            return [load.share for load in self.own]
        return self._ratios(lambda load: load.cost if self.row.by_cost else load.rate)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def goal(self) -> float | None:
        return self.row.max_share or self.row.goals.get(self.number)

    @property
    def p99(self) -> float:
        """The ratio of the 99th percentiles of the latencies."""
        return statistics.median(self._ratios(lambda load: load.percentile(99)))

    @property
    def is_reached(self) -> bool:
        """A rate is reached only if no client waits longer for it than at the other side."""
        if self.goal is None:
            return True
        if self.row.by_cost or self.row.max_share:
            return self.ratio <= self.goal
        return self.ratio >= self.goal and self.p99 <= MAX_P99

    @property
    def cells(self) -> tuple[str, ...]:
        of = f"{self.number:,} {self.row.of}"
        if not self.other:
            share, most = f"{100 * self.ratio:.2f} % of a core", f"at most {100 * (self.goal or 0):g} %"
            return self.row.title, of, share, "-", "-", "-", most, "-", "-", "-"
        cost = statistics.median(self._ratios(lambda load: load.cost))
        bound = "-" if self.goal is None else f"{'at most ' if self.row.by_cost else ''}{self.goal:g}"
        return (
            self.row.title,
            of,
            f"{rate(self.own):,.0f}/s",
            f"{rate(self.other):,.0f}/s",
            f"{self.ratio:.2f}",
            f"{min(self.ratios):.2f} to {max(self.ratios):.2f}",
            bound,
            f"{self.p99:.2f}",
            f"{statistics.median(load.cost for load in self.own) * 1e6:,.0f} µs",
            f"{cost:.2f}",
        )

    @property
    def memory(self) -> str:
        """Of a stream with its session, and of the process before; "" where it was not measured."""
        own, *other = (
            max((load.memory, load.process) for load in side) for side in (self.own, self.other) if side
        )
        if not own[0]:
            return ""
        streams = " against ".join(f"{each / KB:.0f} kB" for each, _ in (own, *other))
        processes = " against ".join(f"{each / MB:.0f} MB" for _, each in (own, *other))
        return f"{streams} a stream with its session, {processes} the process before"

    def _ratios(self, figure: object) -> list[float]:
        assert callable(figure)
        pairs = [(figure(own), figure(other)) for own, other in zip(self.own, self.other, strict=True)]
        # A few steps take less CPU than the system counts.
        return [own / other if other else math.nan for own, other in pairs]


def rate(side: Sequence[Load]) -> float:
    return statistics.median(load.rate for load in side)


def p99(side: Sequence[Load]) -> float:
    return statistics.median(load.percentile(99) for load in side)


def cost(side: Sequence[Load]) -> float:
    """CPU seconds of a step."""
    return statistics.median(load.cost for load in side)
