"""How much data a reading may have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

UNBOUNDED: Final = 2**53
"""Characters: more than there can be, and a number that every store can hold."""


def fitting(sizes: Iterable[int], size: int) -> int:
    """How many of the first items have no more than `size` together. The very first counts in any case."""
    count = total = 0
    for each in sizes:
        total += each
        if count and total > size:
            break
        count += 1
    return count
