"""Calls that happen once, by Redis's clock."""

from __future__ import annotations

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.records import Claim, Claimed
from mcp_sessions.stores.redis.commands import RunsSteps, Steps, method, run_repeatable
from mcp_sessions.stores.redis.values import text


class Claims(RunsSteps):
    @method
    def claim(self, claim: Claim, limit: int | None = None) -> Steps[Claimed | None]:
        keep, runs_again = claim.keep_seconds * 1_000_000, claim.if_lost is None
        answer = yield from run_repeatable(
            self,
            "claim",
            *(claim.session, claim.name, claim.worker, claim.token, keep, limit),
            *(runs_again, claim.if_lost),
        )
        if answer is None:
            raise SessionEnded("The session has ended: no call of it is run.")
        state, outcome = map(text, answer)
        if state == "full":
            return None
        return Claimed(state == "mine", outcome or None)

    @method
    def settle(self, claim: Claim, outcome: str) -> Steps[bool]:
        answer = yield from run_repeatable(self, "settle", claim.session, claim.name, claim.token, outcome)
        if answer is None:
            raise SessionEnded("The session has ended: no outcome of its calls is kept.")
        return bool(answer)

    @method
    def unclaim(self, claim: Claim) -> Steps[None]:
        yield from run_repeatable(self, "unclaim", claim.session, claim.name, claim.token)
