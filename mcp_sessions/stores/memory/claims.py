"""Calls that happen once, by this machine's clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.records import Claim, Claimed
from mcp_sessions.stores.memory.kept import OnceCall
from mcp_sessions.stores.memory.state import State, Transactional

MINE: Final = Claimed(is_mine=True)


class Claims(Transactional):
    def claim(self, claim: Claim, limit: int | None = None) -> Claimed | None:
        with self.transaction() as state:
            if (session := state.unended(claim.session)) is None:
                raise SessionEnded("The session has ended: no call of it is run.")
            now, calls = timezone.now(), session.once
            if (found := calls.get(claim.name)) is not None:
                answer = claimed_again(state, found, claim, now)
            elif limit is not None and sum(is_kept(each, now) for each in calls.values()) >= limit:
                return None
            else:
                answer = MINE
            if answer.is_mine:
                # Sent twice, it only has a little more time.
                expires_at = now + timedelta(seconds=claim.keep_seconds)
                calls[claim.name] = OnceCall(claim.worker, claim.token, claim.keep_seconds, expires_at)
            return answer

    def settle(self, claim: Claim, outcome: str) -> bool:
        with self.transaction() as state:
            if state.unended(claim.session) is None:
                raise SessionEnded("The session has ended: no outcome of its calls is kept.")
            if (found := claimed_by(state, claim)) is None:
                return False
            if not found.outcome:
                found.expires_at = timezone.now() + timedelta(seconds=claim.keep_seconds)
                found.outcome = outcome
            return found.outcome == outcome

    def unclaim(self, claim: Claim) -> None:
        with self.transaction() as state:
            if (found := claimed_by(state, claim)) is not None and not found.outcome:
                del state.sessions[claim.session].once[claim.name]


def claimed_again(state: State, found: OnceCall, claim: Claim, now: datetime) -> Claimed:
    """The answer to a claim of a call that was claimed before. One that was lost is settled."""
    if found.outcome and found.expires_at > now:
        return Claimed(outcome=found.outcome)
    if not found.outcome and found.token == claim.token:
        return MINE
    if not found.outcome and lives(state, found):
        return Claimed()
    if found.outcome or claim.if_lost is None:
        return MINE
    found.outcome, found.expires_at = claim.if_lost, now + timedelta(seconds=claim.keep_seconds)
    return Claimed(outcome=found.outcome)


def claimed_by(state: State, claim: Claim) -> OnceCall | None:
    session = state.unended(claim.session)
    found = session and session.once.get(claim.name)
    return found if found and found.token == claim.token else None


def lives(state: State, call: OnceCall) -> bool:
    """Whether the worker that runs it lives."""
    worker = state.workers.get(call.worker)
    return worker is not None and worker.lost_at is None


def is_kept(call: OnceCall, now: datetime) -> bool:
    return not call.outcome or call.expires_at > now


def forget_outcomes(state: State) -> None:
    """Delete calls whose time is over; one whose worker was lost, once nobody knows of that worker."""
    now = timezone.now()
    for session in state.sessions.values():
        session.once = {
            name: call
            for name, call in session.once.items()
            if call.expires_at > now or (not call.outcome and call.worker in state.workers)
        }
