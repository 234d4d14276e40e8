"""Calls that happen once: claimed under the lock of their session, by the database's clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.models import OnceCall, OnceCallQuerySet, Worker
from mcp_sessions.records import Claim, Claimed
from mcp_sessions.stores.database.locks import lock_session
from mcp_sessions.stores.database.statements import now_of
from mcp_sessions.stores.database.transactions import retried, writing

MINE: Final = Claimed(is_mine=True)
RUNNING: Final = Claimed()


class Claims:
    alias: str

    @retried
    def claim(self, claim: Claim, limit: int | None = None) -> Claimed | None:
        with writing(self.alias) as connection:
            if (locked := lock_session(self.alias, claim.session, "id")) is None:
                raise SessionEnded("The session has ended: no call of it is run.")
            now, calls = now_of(connection), OnceCall.objects.using(self.alias).filter(session=locked[0])
            if (found := calls.filter(name=claim.name).first()) is not None:
                return _claimed_again(found, claim, now)
            if limit is not None and calls.kept(now).count() >= limit:
                return None
            calls.create(session_id=locked[0], name=claim.name, **_running(claim, now))
            return MINE

    @retried
    def settle(self, claim: Claim, outcome: str) -> bool:
        with writing(self.alias) as connection:
            if lock_session(self.alias, claim.session, "id") is None:
                raise SessionEnded("The session has ended: no outcome of its calls is kept.")
            expires_at = now_of(connection) + timedelta(seconds=claim.keep_seconds)
            ours = self._claimed_by(claim)
            if ours.filter(outcome="").update(outcome=outcome, expires_at=expires_at):
                return True
            return ours.filter(outcome=outcome).exists()

    @retried
    def unclaim(self, claim: Claim) -> None:
        with writing(self.alias):
            self._claimed_by(claim).filter(outcome="").delete()

    def _claimed_by(self, claim: Claim) -> OnceCallQuerySet:
        calls = OnceCall.objects.using(self.alias)
        return calls.filter(session__key=claim.session, name=claim.name, token=claim.token)


def _claimed_again(found: OnceCall, claim: Claim, now: datetime) -> Claimed:
    """The answer to a claim of a call that was claimed before. The session is locked."""
    if found.outcome and found.expires_at > now:
        return Claimed(outcome=found.outcome)
    if not found.outcome and found.token == claim.token:
        return MINE
    if not found.outcome and _lives(found):
        return RUNNING
    if found.outcome or claim.if_lost is None:
        _change(found, **_running(claim, now))
        return MINE
    _change(found, outcome=claim.if_lost, expires_at=now + timedelta(seconds=claim.keep_seconds))
    return Claimed(outcome=claim.if_lost)


def _lives(call: OnceCall) -> bool:
    workers = Worker.objects.using(call._state.db)
    return workers.filter(name=call.worker, lost_at=None).exists()


def _running(claim: Claim, now: datetime) -> dict[str, Any]:
    """The columns of a call that the claim runs."""
    return {
        "worker": claim.worker,
        "token": claim.token,
        "outcome": "",
        "keep_seconds": claim.keep_seconds,
        "expires_at": now + timedelta(seconds=claim.keep_seconds),
    }


def _change(call: OnceCall, **columns: Any) -> None:
    OnceCall.objects.using(call._state.db).filter(pk=call.pk).update(**columns)
