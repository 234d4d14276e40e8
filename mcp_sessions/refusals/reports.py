"""The security log: every request that is refused is reported here, whatever refuses it.

A client that tries again and again must not fill the log: the first refusal is reported at once, its repeats
are counted and reported once per interval.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from mcp_sessions import signals
from mcp_sessions.background import Periodic
from mcp_sessions.deferred import defer
from mcp_sessions.exchange import Exchange
from mcp_sessions.logs import note, tell_refusal
from mcp_sessions.receivers import deliver
from mcp_sessions.records import Refusal, SessionRecord
from mcp_sessions.refusals.counts import RefusalCounts
from mcp_sessions.runtime import Phase, Runtime, current
from mcp_sessions.security.addresses import client_address

INTERVAL_SECONDS: Final = 60.0
"""Repeats are reported once in so many seconds."""
MAX_ADDRESSES: Final = 1000
"""Addresses whose refusals are counted apart within an interval; past it all further ones count together."""
OTHERS: Final = "others"
"""What stands for the address of those."""

Repeated = tuple[str, str, str]
"""The endpoint, reason and address of refusals that count as repeats of one another."""


def report_refusal(exchange: Exchange, reason: str, key: str = "") -> None:
    """Report a request that is refused for security; on the runtime's loop.

    `reason` is one of those in mcp_sessions/signals.py; `key` is that of the session which the request
    named, if there is such a session.
    """
    note(reason=reason)
    address = client_address(exchange)
    refusal = Refusal(exchange.endpoint, reason, address, exchange.owner, key)
    current().service(Refusals).add(refusal)
    current().service(RefusalCounts).add(refusal)


class Refusals:
    """What was refused in this process lately."""

    def __init__(self, runtime: Runtime) -> None:
        self._repeats: dict[Repeated, Refusal | None] = {}
        self._reporting = Periodic(
            runtime,
            "report of repeated refusals",
            self._report_repeats,
            lambda: INTERVAL_SECONDS,
            while_needed=lambda: self._repeats,
        )
        runtime.at_shutdown(Phase.WRITE, self._report_all)

    def add(self, refusal: Refusal) -> None:
        """Report it now if it is the first, else count it."""
        refusal = self._merged(refusal)
        repeated = (refusal.server, refusal.reason, refusal.address)
        if repeated in self._repeats:
            before = self._repeats[repeated]
            self._repeats[repeated] = replace(refusal, count=before.count + 1 if before else 1)
            return
        self._repeats[repeated] = None
        self._reporting.start()
        _report(refusal)

    def _merged(self, refusal: Refusal) -> Refusal:
        """The refusal itself, or, while too many addresses are counted apart, as one of the others."""
        repeated = (refusal.server, refusal.reason, refusal.address)
        if repeated in self._repeats or len(self._repeats) < MAX_ADDRESSES:
            return refusal
        return replace(refusal, address=OTHERS, owner="", key="")

    async def _report_repeats(self) -> None:
        """What was not repeated within an interval is reported at once when it comes again."""
        repeats = {repeated: refusal for repeated, refusal in self._repeats.items() if refusal is not None}
        self._repeats = dict.fromkeys(repeats)
        for refusal in repeats.values():
            _report(refusal)

    async def _report_all(self) -> None:
        """What was counted must not be lost when the process stops."""
        for refusal in filter(None, self._repeats.values()):
            _report(refusal)
        self._repeats.clear()


def _report(refusal: Refusal) -> None:
    tell_refusal(refusal)
    if signals.request_refused.has_listeners(SessionRecord):
        arguments = {"session": None, "reason": refusal.reason, "refusal": refusal}
        defer(f"a refusal ({refusal.reason})", partial(deliver, signals.request_refused, None, arguments))
