"""Rates as settings write them: "600/min", or "600/min, burst 100"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MICROSECONDS: Final = 1_000_000
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""By the first letter, as Django REST framework takes them: "min" and "minute" are one."""

_FORM: Final = re.compile(
    r"(?P<count>[1-9]\d{0,8}) ?/ ?(?P<period>s|sec|second|m|min|minute|h|hour|d|day)"
    r"(?:, ?burst (?P<burst>[1-9]\d{0,8}))?"
)


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` calls in `seconds`, of which at most `burst` may come at once."""

    count: int
    seconds: int
    burst: int

    @property
    def interval(self) -> int:
        """Microseconds between two calls at this rate; rounded up, so that it is never exceeded."""
        return -(-self.seconds * MICROSECONDS // self.count)


@lru_cache(maxsize=256)
def parse_rate(text: str) -> Rate:
    """Raises ValueError for anything else than "N/period" or "N/period, burst N"."""
    if (found := _FORM.fullmatch(text)) is None:
        raise ValueError(f"{text!r} is no rate.")
    count = int(found["count"])
    return Rate(count, SECONDS[found["period"][0]], int(found["burst"] or count))
