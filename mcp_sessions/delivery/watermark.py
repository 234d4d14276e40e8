"""Numbers that are given out in order and may be seen out of order: which are new."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

GAP_SECONDS: Final = 5.0
"""How long a missing number is waited for: its transaction may commit after the next one's."""


class Watermark:
    """Everything up to `low` is settled; above it, what was seen is remembered, so that it comes once.

    A transaction that was rolled back leaves a gap for ever, one that is slow only for a while.
    """

    def __init__(self, low: int) -> None:
        self.low = low
        self._seen: dict[int, float] = {}

    def take(self, numbers: Iterable[int], now: float) -> list[int]:
        """Those of the numbers, which are all greater than `low`, that were not taken before."""
        new = [number for number in numbers if number not in self._seen]
        self._seen.update(dict.fromkeys(new, now))
        old = [number for number, seen_at in self._seen.items() if now - seen_at >= GAP_SECONDS]
        self.low = max([self.low, *old])
        while self.low + 1 in self._seen:
            self.low += 1
        self._seen = {number: seen_at for number, seen_at in self._seen.items() if number > self.low}
        return new
