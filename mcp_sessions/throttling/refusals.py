"""What is said of refused requests: the first one at once, those that follow by their number.

A line, a signal and a metric, so that whoever floods a server does not flood its log as well.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from mcp_sessions.aside import put_aside
from mcp_sessions.logs import tell_refused
from mcp_sessions.receivers import deliver
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import Phase, Runtime, current
from mcp_sessions.signals import rate_limited

COUNT_SECONDS: Final = 10.0
"""Repeated refusals of one client are told together, once per so many seconds."""
MOST: Final = 1000
"""Clients whose refusals are counted apart; past it those of others are counted together."""
OTHERS: Final = "others"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Whom a limit of an endpoint has refused, and by which: a key of RATE_LIMITS, or "streams"."""

    server: str
    reason: str
    address: str
    owner: str = ""
    session: SessionRecord | None = None

    @property
    def name(self) -> tuple[str, ...]:
        return self.server, self.reason, self.address, self.owner, self.session.key if self.session else ""


class Refusals:
    """Those of this process that were not told yet."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._counts: dict[tuple[str, ...], int] = {}
        self._refusals: dict[tuple[str, ...], Refusal] = {}
        self._telling: asyncio.Task[None] | None = None
        runtime.at_shutdown(Phase.WRITE, self._stop)

    def add(self, refusal: Refusal) -> None:
        if refusal.name not in self._counts and len(self._counts) >= MOST:
            refusal = replace(refusal, address=OTHERS, owner="", session=None)
        if refusal.name not in self._counts:
            self._counts[refusal.name], self._refusals[refusal.name] = 0, refusal
            tell(refusal, 1)
        else:
            self._counts[refusal.name] += 1
        if self._telling is None:
            self._telling = self._runtime.spawn(self._tell_repeated(), "refusals")

    async def _tell_repeated(self) -> None:
        try:
            while self._counts:
                await asyncio.sleep(COUNT_SECONDS)
                self.flush()
        finally:
            self._telling = None

    def flush(self) -> None:
        """Tell of those that were repeated, and forget whoever was not refused again."""
        for name, count in list(self._counts.items()):
            if count:
                self._counts[name] = 0
                tell(self._refusals[name], count)
            else:
                del self._counts[name], self._refusals[name]

    async def _stop(self) -> None:
        self.flush()


def refuse(refusal: Refusal) -> None:
    """A request was refused; must be called on the runtime's loop."""
    current().service(Refusals).add(refusal)


def tell(refusal: Refusal, count: int) -> None:
    session = refusal.session
    tell_refused(refusal.server, refusal.reason, refusal.address, session.key if session else None, count)
    if rate_limited.has_listeners(SessionRecord):
        told = {"session": session, "reason": refusal.reason, "count": count, "server": refusal.server}
        told |= {"address": refusal.address, "owner": refusal.owner}
        put_aside(f"a signal of refusals ({refusal.reason})", partial(deliver, rate_limited, session, told))
