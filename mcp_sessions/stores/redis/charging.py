"""Rate limits, by Redis's clock. A key ends when nothing counts against its limit any more."""

from __future__ import annotations

from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, do, verb


class ChargingVerbs(RunsSteps):
    @verb
    def charge(self, charge: Charge) -> Steps[Charged]:
        rate = charge.rate
        arguments = (charge.name, rate.interval, rate.burst, charge.spent, charge.cost)
        is_admitted, ahead = yield from do(self, "charge", *arguments)
        return Charged(bool(is_admitted), int(ahead))
