"""Rate limits, by this machine's clock."""

from __future__ import annotations

import time

from mcp_sessions import gcra
from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.transactions import Transactional


class ChargingVerbs(Transactional):
    def charge(self, charge: Charge) -> Charged:
        with self.transaction() as state:
            tat = state.rate_limits.get(charge.name, 0)
            state.rate_limits[charge.name], charged = gcra.charge(tat, microseconds(), charge)
            return charged


def forget_unused(state: State) -> None:
    now = microseconds()
    state.rate_limits = {name: tat for name, tat in state.rate_limits.items() if tat > now}


def microseconds() -> int:
    return time.time_ns() // 1000
