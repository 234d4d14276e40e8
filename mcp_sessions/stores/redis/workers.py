"""Workers, what has changed for them, and the limits that they share, by Redis's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.records import StreamRecord, Takeover
from mcp_sessions.stores.redis.records import stream_records
from mcp_sessions.stores.redis.values import instant, text
from mcp_sessions.stores.redis.verbs import CHUNK, RunsSteps, Steps, ask, do, verb


class Workers(RunsSteps):
    @verb
    def now(self) -> Steps[datetime]:
        return instant((yield from ask(self, "now")))

    @verb
    def enlist(self, worker: str) -> Steps[None]:
        yield from ask(self, "enlist", worker)

    @verb
    def beat(self, worker: str) -> Steps[bool]:
        return bool((yield from ask(self, "beat", worker)))

    @verb
    def find_lost(self, timeout_seconds: float) -> Steps[Sequence[str]]:
        found = yield from ask(self, "find_lost", timeout_seconds * 1_000_000)
        return [text(worker) for worker in found]

    @verb
    def take_over(self, lost: str, worker: str, limit: int) -> Steps[Takeover]:
        written, is_all = yield from do(self, "take_over", lost, worker, limit)
        left = (yield from self._forget(lost)) if is_all else ()
        return Takeover(written, tuple(left))

    def _forget(self, lost: str) -> Steps[list[StreamRecord]]:
        """The GET streams that it read."""
        left: list[StreamRecord] = []
        is_more = 1
        while is_more:
            some, is_more = yield from do(self, "forget", lost, CHUNK)
            left += stream_records(some)
        return left

    @verb
    def leave(self, worker: str) -> Steps[None]:
        yield from ask(self, "leave", worker)

    @verb
    def notify(self, names: Sequence[str]) -> Steps[None]:
        yield from do(self, "notify", *names)

    @verb
    def changes(self, after: int) -> Steps[Sequence[tuple[int, Sequence[str]]]]:
        found = yield from ask(self, "changes", after)
        return [(number, text(names).split(" ")) for number, names in found]

    @verb
    def last_change(self, before: datetime) -> Steps[int]:
        return int((yield from ask(self, "last_change", before)))

    @verb
    def charge(self, charge: Charge) -> Steps[Charged]:
        rate = charge.rate
        arguments = (charge.name, rate.interval, rate.burst, charge.spent, charge.cost)
        is_admitted, ahead = yield from do(self, "charge", *arguments)
        return Charged(bool(is_admitted), int(ahead))
