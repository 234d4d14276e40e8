"""The generic cell rate algorithm: rate limits without counting windows, as pure arithmetic.

Of each limit one number is kept, its theoretical arrival time (TAT): when all calls that were counted
would have come, had each kept its distance. It lies ahead of the clock by what is in the bucket. A call
moves it by one interval, and is admitted if it then lies no further ahead than the burst allows.

Times are whole microseconds of any one clock. Source: ITU-T I.371, the virtual scheduling algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcp_sessions.conf import Rate


@dataclass(frozen=True, slots=True)
class Charge:
    """What is to be counted against the limit `name`: `spent` calls were served already, `cost` ask to be."""

    name: str
    rate: Rate
    cost: int = 1
    spent: int = 0


@dataclass(frozen=True, slots=True)
class Charged:
    """Whether the calls that asked are admitted, and how far the TAT is ahead now, in microseconds."""

    is_admitted: bool
    ahead: int


def charge(tat: int, now: int, asked: Charge) -> tuple[int, Charged]:
    """The new TAT, and what came of the charge. What was spent counts in any case, what is refused never."""
    base = max(tat, now) + asked.spent * asked.rate.interval
    is_admitted = wait(base, now, asked.rate, asked.cost) == 0
    after = base + asked.cost * asked.rate.interval if is_admitted else base
    return after, Charged(is_admitted, after - now)


def wait(tat: int, now: int, rate: Rate, cost: int = 1) -> int:
    """Microseconds until so many calls are admitted, if nobody else comes; 0: they are now.

    More than the burst are never admitted.
    """
    return max(max(tat, now) - now + (cost - rate.burst) * rate.interval, 0)
