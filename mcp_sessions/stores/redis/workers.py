"""Workers, what has changed for them, the limits that they share, and what is deleted, by Redis's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.records import StreamRecord, Takeover
from mcp_sessions.stores.redis.commands import CHUNK, RunsSteps, Steps, method, run_once, run_repeatable
from mcp_sessions.stores.redis.records import stream_records
from mcp_sessions.stores.redis.values import instant, text

CHANGES_KEPT: Final = timedelta(minutes=1)
"""How long a change can be read. A process that was away for longer compares all it has open."""


class Workers(RunsSteps):
    @method
    def now(self) -> Steps[datetime]:
        return instant((yield from run_repeatable(self, "now")))

    @method
    def enlist(self, worker: str) -> Steps[None]:
        yield from run_repeatable(self, "enlist", worker)

    @method
    def beat(self, worker: str) -> Steps[bool]:
        return bool((yield from run_repeatable(self, "beat", worker)))

    @method
    def find_lost(self, timeout_seconds: float) -> Steps[Sequence[str]]:
        found = yield from run_repeatable(self, "find_lost", timeout_seconds * 1_000_000)
        return [text(worker) for worker in found]

    @method
    def take_over(self, lost: str, worker: str, limit: int) -> Steps[Takeover]:
        written, is_all = yield from run_once(self, "take_over", lost, worker, limit)
        left = (yield from self._forget(lost)) if is_all else ()
        return Takeover(written, tuple(left))

    def _forget(self, lost: str) -> Steps[list[StreamRecord]]:
        """The GET streams that it read."""
        left: list[StreamRecord] = []
        is_more = 1
        while is_more:
            some, is_more = yield from run_once(self, "forget", lost, CHUNK)
            left += stream_records(some)
        return left

    @method
    def leave(self, worker: str) -> Steps[None]:
        yield from run_repeatable(self, "leave", worker)

    @method
    def notify(self, names: Sequence[str]) -> Steps[None]:
        yield from run_once(self, "notify", *names)

    @method
    def changes(self, after: int) -> Steps[Sequence[tuple[int, Sequence[str]]]]:
        found = yield from run_repeatable(self, "changes", after)
        return [(number, text(names).split(" ")) for number, names in found]

    @method
    def last_change(self, before: datetime) -> Steps[int]:
        return int((yield from run_repeatable(self, "last_change", before)))

    @method
    def charge(self, charge: Charge) -> Steps[Charged]:
        rate = charge.rate
        arguments = (charge.name, rate.interval, rate.burst, charge.spent, charge.cost)
        is_admitted, ahead = yield from run_once(self, "charge", *arguments)
        return Charged(bool(is_admitted), int(ahead))

    @method
    def delete_unreachable(self, before: datetime, limit: int) -> Steps[int]:
        kept = CHANGES_KEPT // timedelta(microseconds=1)
        return int((yield from run_once(self, "delete_unreachable", before, limit, kept)))
