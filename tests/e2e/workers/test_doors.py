"""The same across workers that serve in another way: under Daphne, and with POSTs through Django."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Final

from tests.e2e.workers import (
    test_cancellation,
    test_endings,
    test_live_tail,
    test_messages,
    test_pending,
    test_replies,
)
from tests.e2e.workers.conftest import StartCluster, Workers, both_at, in_turn, on
from tests.e2e.workers.gates import Gates

SCENARIOS: Final[list[Callable[..., None]]] = [
    test_cancellation.test_a_call_that_has_sent_nothing_is_cancelled,
    test_endings.test_streams_and_calls_end_elsewhere,
    test_live_tail.test_a_cut_call_goes_on_elsewhere,
    test_live_tail.test_the_connection_that_is_left_behind_is_closed,
    test_live_tail.test_a_fast_call_is_followed_from_elsewhere,
    test_messages.test_a_tool_of_one_worker_sends_to_streams_of_the_other,
    test_pending.test_what_was_delivered_does_not_come_again,
    test_replies.test_two_questions_are_answered_in_the_opposite_order,
]


def test_it_is_the_same_through_django(workers: Workers, gates: Gates) -> None:
    play_all(both_at("/django", workers), gates)


@on("postgresql")
def test_it_is_the_same_under_daphne(start_cluster: StartCluster, gates: Gates) -> None:
    play_all(in_turn(start_cluster(kind="daphne"), "daphne"), gates)


def play_all(workers: Workers, gates: Gates) -> None:
    given = {"workers": workers, "gates": gates, "reason": "operator"}
    for scenario in SCENARIOS:
        scenario(**{name: given[name] for name in inspect.signature(scenario).parameters})
