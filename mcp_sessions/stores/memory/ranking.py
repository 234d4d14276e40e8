"""Keys in an order that is kept while they come, change and go, so that nobody goes through all of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


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
