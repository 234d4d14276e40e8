"""Rate limits: what is counted against them, and that nobody is admitted beyond them."""

from __future__ import annotations

import random
import time

from django.utils import timezone

from mcp_sessions.conf import MICROSECONDS, Rate
from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.identifiers import new_key
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR
from mcp_sessions.testing.store_contract.observing import together

DAY = 86400
SLOW = Rate(1, DAY, 5)
"""Of which nothing comes back while a test runs."""
FAST = Rate(10**6, 1, 1)
"""Of which all comes back at once."""


class RateLimitContract:
    def test_calls_are_admitted_up_to_the_burst(self, store: BaseSessionStore) -> None:
        limit = Charge(new_key(), SLOW)
        answers = [store.charge(limit) for _ in range(7)]
        assert [each.is_admitted for each in answers] == [True] * 5 + [False] * 2
        ahead = [round(each.ahead / MICROSECONDS / DAY) for each in answers]
        assert ahead == [1, 2, 3, 4, 5, 5, 5]

    def test_each_limit_is_one_of_its_own(self, store: BaseSessionStore) -> None:
        one = [Charge(new_key(), Rate(1, DAY, 1)) for _ in range(2)]
        assert [store.charge(each).is_admitted for each in one * 2] == [True, True, False, False]

    def test_what_was_spent_counts_in_any_case(self, store: BaseSessionStore) -> None:
        """Also when it is too much, and also for a limit that is new."""
        name = new_key()
        assert store.charge(Charge(name, SLOW, cost=1, spent=4)).is_admitted
        late = store.charge(Charge(name, SLOW, cost=1, spent=3))
        assert (late.is_admitted, round(late.ahead / MICROSECONDS / DAY)) == (False, 8)
        first = store.charge(Charge(new_key(), SLOW, cost=1, spent=5))
        assert (first.is_admitted, first.ahead) == (False, 5 * DAY * MICROSECONDS)

    def test_what_costs_more_is_admitted_as_a_whole_or_not(self, store: BaseSessionStore) -> None:
        name = new_key()
        costs = [3, 3, 2, 1]
        assert [store.charge(Charge(name, SLOW, cost)).is_admitted for cost in costs] == [
            *(True, False, True, False)
        ]
        assert not store.charge(Charge(new_key(), SLOW, cost=6)).is_admitted

    def test_a_call_comes_back_after_its_interval(self, store: BaseSessionStore) -> None:
        name, rate = new_key(), Rate(20, 1, 1)
        refused = store.charge(Charge(name, rate, spent=4))
        assert refused == Charged(False, 200_000)
        time.sleep(refused.ahead / MICROSECONDS)
        assert store.charge(Charge(name, rate)).is_admitted

    def test_it_counts_as_the_arithmetic_does(self, store: BaseSessionStore) -> None:
        """In days, of which none passes meanwhile."""
        chance = random.Random(7)
        for _ in range(5):
            name, level = new_key(), 0
            for cost, spent in ((chance.randint(1, 4), chance.randint(0, 3)) for _ in range(6)):
                level += spent
                if is_admitted := level + cost <= SLOW.burst:
                    level += cost
                found = store.charge(Charge(name, SLOW, cost, spent))
                assert (found.is_admitted, round(found.ahead / MICROSECONDS / DAY)) == (is_admitted, level)

    def test_of_many_that_come_at_once_no_more_are_admitted(self, store: BaseSessionStore) -> None:
        name = new_key()
        answers: list[Charged] = together(*(store.acharge(Charge(name, SLOW)) for _ in range(40)))
        assert sum(each.is_admitted for each in answers) == SLOW.burst

    def test_what_counts_no_more_is_deleted(self, store: BaseSessionStore) -> None:
        """And what counts stays."""
        used, unused = Charge(new_key(), Rate(1, DAY, 1)), Charge(new_key(), FAST)
        assert store.charge(used).is_admitted
        store.charge(unused)
        # A microsecond by the store's clock, which may count in milliseconds.
        time.sleep(0.01)
        store.delete_unreachable(timezone.now() + HOUR, 10)
        assert not store.charge(used).is_admitted
        assert store.charge(unused) == Charged(True, 1)
