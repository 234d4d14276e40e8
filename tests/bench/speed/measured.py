"""What came of a row for one number of connections: the ratios of the two sides, round by round."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Measured:
    row: Row
    number: int
    own: Sequence[Load]
    other: Sequence[Load]

    @property
    def ratios(self) -> list[float]:
        """Of the rates, or of the costs where the row is about those."""
        return self._ratios(lambda load: load.cost if self.row.by_cost else load.rate)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def goal(self) -> float | None:
        return self.row.goals.get(self.number)

    @property
    def is_reached(self) -> bool:
        if self.goal is None:
            return True
        return self.ratio <= self.goal if self.row.by_cost else self.ratio >= self.goal

    @property
    def cells(self) -> tuple[str, ...]:
        p99 = statistics.median(self._ratios(lambda load: load.percentile(99)))
        cost = statistics.median(self._ratios(lambda load: load.cost))
        bound = "-" if self.goal is None else f"{'at most ' if self.row.by_cost else ''}{self.goal:g}"
        return (
            self.row.title,
            f"{self.number:,} {self.row.of}",
            f"{rate(self.own):,.0f}/s",
            f"{rate(self.other):,.0f}/s",
            f"{self.ratio:.2f}",
            f"{min(self.ratios):.2f} to {max(self.ratios):.2f}",
            bound,
            f"{p99:.2f}",
            f"{statistics.median(load.cost for load in self.own) * 1e6:,.0f} µs",
            f"{cost:.2f}",
        )

    @property
    def memory(self) -> str:
        """Of a stream with its session; "" where it was not measured."""
        own, other = (max(load.memory for load in side) for side in (self.own, self.other))
        if not own or not other:
            return ""
        return f"{own / KB:.0f} kB against {other / KB:.0f} kB, {own / other:.2f}"

    def _ratios(self, figure: object) -> list[float]:
        assert callable(figure)
        return [figure(own) / figure(other) for own, other in zip(self.own, self.other, strict=True)]


def rate(side: Sequence[Load]) -> float:
    return statistics.median(load.rate for load in side)


def p99(side: Sequence[Load]) -> float:
    return statistics.median(load.percentile(99) for load in side)
