"""Calls that happen once: who runs one, what the others get, and how long that is kept."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import pytest
from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.identifiers import digest_of, new_token, new_worker_name
from mcp_sessions.records import Claim, Claimed, EndReason, SessionRecord
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, put
from mcp_sessions.testing.store_contract.observing import together
from mcp_sessions.testing.store_contract.workers import TIMEOUT, MakeLate, WorkerFixtures

LOST: Final = '{"error": "lost"}'
DONE: Final = '{"result": "\\u0000 \'done\' é \\" 1/2"}'
MINE: Final = Claimed(is_mine=True)
RUNNING: Final = Claimed()
LONG: Final = 86400.0
BRIEF: Final = 0.001


def claim_of(session: SessionRecord, worker: str, what: str = "order 7", keep: float = LONG) -> Claim:
    return Claim(session.key, digest_of(what), worker, new_token(), keep, LOST)


def again(claim: Claim, worker: str = "", if_lost: str | None = LOST) -> Claim:
    """Another claim of the same call."""
    return replace(claim, worker=worker or claim.worker, token=new_token(), if_lost=if_lost)


class OnceCallContract(WorkerFixtures):
    def test_the_first_claim_runs_the_call_and_the_others_get_its_outcome(
        self, store: BaseSessionStore, worker: str
    ) -> None:
        first = claim_of(put(store), worker)
        assert store.claim(first) == MINE
        assert store.claim(again(first)) == RUNNING
        assert store.settle(first, DONE) is True
        assert [store.claim(each) for each in (first, again(first))] == [Claimed(outcome=DONE)] * 2

    def test_of_many_claims_at_once_one_runs_the_call(self, store: BaseSessionStore, worker: str) -> None:
        first = claim_of(put(store), worker)
        answers = together(*(store.aclaim(again(first)) for _ in range(12)))
        assert sorted(answers == MINE for answers in answers) == [False] * 11 + [True]
        assert all(each in (MINE, RUNNING) for each in answers)

    def test_calls_differ_by_name_and_session(self, store: BaseSessionStore, worker: str) -> None:
        one, other = put(store), put(store)
        claims = [claim_of(one, worker), claim_of(one, worker, "order 8"), claim_of(other, worker)]
        assert [store.claim(each) for each in claims] == [MINE] * 3
        store.settle(claims[0], DONE)
        assert [store.claim(again(each)) for each in claims] == [Claimed(outcome=DONE), RUNNING, RUNNING]

    def test_a_claim_that_is_sent_twice_is_one(self, store: BaseSessionStore, worker: str) -> None:
        """Who does not know whether it was stored sends it again; and so with the outcome."""
        claim = claim_of(put(store), worker)
        assert [store.claim(claim), store.claim(claim)] == [MINE] * 2
        assert [store.settle(claim, DONE), store.settle(claim, DONE)] == [True] * 2
        assert store.settle(claim, "other") is False
        assert store.claim(again(claim)) == Claimed(outcome=DONE)

    def test_who_has_no_claim_settles_nothing(self, store: BaseSessionStore, worker: str) -> None:
        session = put(store)
        claim = claim_of(session, worker)
        assert store.settle(claim, DONE) is False
        assert store.claim(claim) == MINE
        stranger = again(claim)
        assert store.settle(stranger, DONE) is False
        store.unclaim(stranger)
        assert store.claim(again(claim)) == RUNNING

    def test_what_has_not_happened_is_run_by_the_next(self, store: BaseSessionStore, worker: str) -> None:
        first = claim_of(put(store), worker)
        store.claim(first)
        store.unclaim(first)
        second = again(first)
        assert store.claim(second) == MINE
        store.settle(second, DONE)
        store.unclaim(second)
        assert store.claim(again(first)) == Claimed(outcome=DONE)
        store.unclaim(replace(first, name=digest_of("never claimed")))

    def test_a_call_whose_worker_was_lost_is_not_run_again(
        self, store: BaseSessionStore, worker: str, make_late: MakeLate
    ) -> None:
        """And its worker, if it was only slow, cannot say otherwise: all get the same answer."""
        first = claim_of(put(store), worker)
        assert store.claim(first) == MINE
        make_late(worker, 2 * TIMEOUT)
        assert store.claim(again(first)) == RUNNING
        assert store.find_lost(TIMEOUT) == [worker]
        assert store.claim(again(first)) == Claimed(outcome=LOST)
        assert store.settle(first, DONE) is False
        assert store.claim(again(first, if_lost=None)) == Claimed(outcome=LOST)

    def test_a_worker_that_was_lost_may_be_the_first_to_say_what_happened(
        self, store: BaseSessionStore, worker: str, make_late: MakeLate
    ) -> None:
        first = claim_of(put(store), worker)
        assert store.claim(first) == MINE
        make_late(worker, 2 * TIMEOUT)
        store.find_lost(TIMEOUT)
        assert store.settle(first, DONE) is True
        assert store.claim(again(first)) == Claimed(outcome=DONE)

    def test_a_call_of_a_worker_that_has_left_is_lost(self, store: BaseSessionStore, worker: str) -> None:
        first = claim_of(put(store), worker)
        assert store.claim(first) == MINE
        store.leave(worker)
        assert store.claim(again(first)) == Claimed(outcome=LOST)

    def test_a_call_is_not_over_before_its_worker_is_known_to_be_lost(
        self, store: BaseSessionStore, worker: str, make_late: MakeLate
    ) -> None:
        """Even if its outcome is kept for a moment only, and other processes delete old outcomes."""
        first, second = (claim_of(put(store), worker, keep=BRIEF) for _ in range(2))
        assert [store.claim(each) for each in (first, second)] == [MINE] * 2
        make_late(worker, 2 * TIMEOUT)
        assert store.find_lost(TIMEOUT) == [worker]
        time.sleep(0.01)
        assert store.claim(again(first)) == Claimed(outcome=LOST)
        for _ in range(2):
            store.delete_unreachable(timezone.now() - HOUR, 10)
        assert store.claim(again(second)) == Claimed(outcome=LOST)

    def test_a_lost_call_that_may_run_again_is_run_by_one(
        self, store: BaseSessionStore, lost: str, worker: str
    ) -> None:
        first = claim_of(put(store), lost)
        assert store.claim(first) == MINE
        answers = together(*(store.aclaim(again(first, worker, if_lost=None)) for _ in range(8)))
        assert sorted(each == MINE for each in answers) == [False] * 7 + [True]
        assert store.settle(first, DONE) is False

    def test_an_outcome_is_known_for_its_time(self, store: BaseSessionStore, worker: str) -> None:
        first = claim_of(put(store), worker, keep=BRIEF)
        assert store.claim(first) == MINE
        time.sleep(0.01)
        # A call that runs is one, however long it takes.
        assert store.claim(again(first)) == RUNNING
        store.settle(first, DONE)
        time.sleep(0.01)
        second = again(first)
        assert store.claim(second) == MINE
        assert store.settle(first, DONE) is False
        assert store.claim(again(first)) == RUNNING

    def test_a_session_has_no_more_than_its_limit(self, store: BaseSessionStore, worker: str) -> None:
        session = put(store)
        claims = [claim_of(session, worker, f"order {n}") for n in range(3)]
        assert [store.claim(each, 2) for each in claims] == [MINE, MINE, None]
        store.settle(claims[0], DONE)
        assert store.claim(claims[2], 2) is None
        # What is there already is answered.
        assert store.claim(again(claims[0]), 2) == Claimed(outcome=DONE)
        assert store.claim(claim_of(put(store), worker), 2) == MINE
        store.unclaim(claims[1])
        assert store.claim(claims[2], 2) == MINE

    def test_what_is_over_does_not_count(self, store: BaseSessionStore, worker: str) -> None:
        session = put(store)
        for n in range(2):
            over = claim_of(session, worker, f"order {n}", keep=BRIEF)
            assert store.claim(over, 2) == MINE
            assert store.settle(over, DONE)
        time.sleep(0.01)
        assert store.claim(claim_of(session, worker, "order 3"), 2) == MINE

    def test_of_many_at_once_no_more_than_the_limit_run(self, store: BaseSessionStore, worker: str) -> None:
        session = put(store)
        claims = [claim_of(session, worker, f"order {n}") for n in range(12)]
        answers = together(*(store.aclaim(each, 5) for each in claims))
        assert sum(each == MINE for each in answers) == 5

    def test_an_ended_session_runs_no_call(self, store: BaseSessionStore, worker: str) -> None:
        session = put(store)
        running = claim_of(session, worker)
        store.claim(running)
        store.end(session.key, NOW, EndReason.DELETED)
        with pytest.raises(SessionEnded):
            store.settle(running, DONE)
        store.unclaim(running)
        for claim in (running, again(running), claim_of(session, worker, "order 8")):
            with pytest.raises(SessionEnded):
                store.claim(claim)

    def test_calls_go_with_their_session(self, store: BaseSessionStore, worker: str) -> None:
        """Nothing of them is left that would be taken for another session's with the same name."""
        session = put(store)
        claim = claim_of(session, worker)
        store.claim(claim)
        store.settle(claim, DONE)
        store.end(session.key, NOW, EndReason.DELETED)
        assert store.purge(NOW, 10) == 1
        store.create(session)
        assert store.claim(again(claim)) == MINE

    def test_outcomes_whose_time_is_over_are_deleted(self, store: BaseSessionStore, worker: str) -> None:
        """So are calls of workers that are not known. What runs stays, and what is still answered."""
        session, unknown = put(store), new_worker_name()
        over, kept, gone, runs = (
            claim_of(session, worker, "over", BRIEF),
            claim_of(session, worker, "kept"),
            claim_of(session, unknown, "gone", BRIEF),
            claim_of(session, worker, "runs", BRIEF),
        )
        for each in (over, kept, gone, runs):
            assert store.claim(each) == MINE
        assert store.settle(over, DONE) and store.settle(kept, DONE)
        time.sleep(0.01)
        for _ in range(2):
            store.delete_unreachable(timezone.now() - HOUR, 10)
        # With two left, there is room for one of three.
        assert store.claim(claim_of(session, worker, "another"), 3) == MINE
        assert store.claim(claim_of(session, worker, "one more"), 3) is None
        assert store.claim(again(kept)) == Claimed(outcome=DONE)
        assert store.claim(again(runs)) == RUNNING
