"""A process's share of each rate limit: calls far from the limit cost the store nothing.

A process serves a tenth of a burst on credit. When that is used up, the next call tells the store of all
of them, and asks to be admitted. Near the limit there is no credit, so each call asks. A limit that is
reached is known to the process, so what it refuses costs the store nothing either.

What is admitted in any period is at most the burst, the rate times the period, and the credit of each
process. For a call that the store admits leaves its count within the burst. Credit is given by an answer
that leaves half of the burst free, so from the moment on at which the count is past the burst, each process
adds what it has served on credit once, and gets no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mcp_sessions import gcra
from mcp_sessions.conf import MICROSECONDS, Rate
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

SHARE: Final = 10
"""The part of a burst that a process serves on credit is one of so many."""
REMEMBERED: Final = 10_000
"""Limits of which a process remembers what it has served on credit; those used longest ago go first."""
OUTAGE_SECONDS: Final = 1.0
"""For so long after the store could not be reached no limit asks it again."""

logger = logging.getLogger("mcp_sessions.throttling")


def monotonic() -> int:
    """Microseconds."""
    return time.monotonic_ns() // 1000


@dataclass(slots=True)
class Share:
    """What a process knows of one limit."""

    rate: Rate
    credit: int
    spent: int = 0
    """Calls served on credit, of which the store does not know."""
    tat: int = 0
    """The store's theoretical arrival time as of its last answer, by this process's clock."""
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the call that asks the store. The others wait for what it learns."""

    def give_credit(self, ahead: int) -> None:
        is_far = 2 * ahead <= self.rate.burst * self.rate.interval
        self.credit = self.rate.burst // SHARE if is_far else 0


class Shares:
    """Those of one process, by name of the limit."""

    def __init__(self, _: Runtime | None = None, clock: Callable[[], int] = monotonic) -> None:
        self._clock = clock
        self._shares: OrderedDict[str, Share] = OrderedDict()
        self._asks_at = 0

    async def admit(self, name: str, rate: Rate, cost: int = 1) -> int:
        """Microseconds after which so many calls may be admitted; 0: they are admitted now.

        Raises StoreUnavailable if only the store could say.
        """
        share = self._share(name, rate)
        waiting = self._wait(share, cost)
        if waiting is None:
            async with share.asking:
                waiting = self._wait(share, cost)
                if waiting is None:
                    waiting = await self._ask(name, share, cost)
        return waiting

    def _wait(self, share: Share, cost: int) -> int | None:
        """The same without the store; None if that has to say."""
        if waiting := gcra.wait(share.tat, self._clock(), share.rate, cost):
            return waiting
        if share.spent + cost > share.credit:
            return None
        share.spent += cost
        return 0

    async def _ask(self, name: str, share: Share, cost: int) -> int:
        asked_at = self._clock()
        charged = await self._charge(name, share, cost)
        share.tat = asked_at + charged.ahead
        share.give_credit(charged.ahead)
        return 0 if charged.is_admitted else max(gcra.wait(share.tat, self._clock(), share.rate, cost), 1)

    def admit_alone(self, name: str, rate: Rate, cost: int = 1) -> int:
        """The same, as if this process were the only one: while the store cannot be reached."""
        share, now = self._share(name, rate), self._clock()
        share.tat, charged = gcra.charge(share.tat, now, Charge(name, rate, cost))
        return 0 if charged.is_admitted else gcra.wait(share.tat, now, rate, cost)

    def _share(self, name: str, rate: Rate) -> Share:
        share = self._shares.get(name)
        if share is None or share.rate != rate:
            share = self._shares[name] = Share(rate, rate.burst // SHARE)
            if len(self._shares) > REMEMBERED:
                self._shares.popitem(last=False)
        self._shares.move_to_end(name)
        return share

    async def _charge(self, name: str, share: Share, cost: int) -> Charged:
        if self._clock() < self._asks_at:
            raise StoreUnavailable("The session store could not be reached a moment ago.")
        spent, share.spent, share.credit = share.spent, 0, 0
        try:
            charged = await get_store().acharge(Charge(name, share.rate, cost, spent))
        except BaseException as error:
            # It may have been counted: then it is counted twice, which admits less and never more.
            share.spent = spent
            if isinstance(error, StoreUnavailable):
                self._note_outage(error)
            raise
        self._asks_at = 0
        return charged

    def _note_outage(self, error: StoreUnavailable) -> None:
        if not self._asks_at:
            logger.warning("rate limits are counted per process while the store is unavailable: %s", error)
        self._asks_at = self._clock() + round(OUTAGE_SECONDS * MICROSECONDS)
