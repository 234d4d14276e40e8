"""Shares of several processes: what they admit together, and what they ask the store."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions import gcra
from mcp_sessions.conf import MICROSECONDS, Rate
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.throttling import SHARE, Shares
from mcp_sessions.throttling import shares as module
from mcp_sessions.throttling.shares import REMEMBERED

counted: ContextVar[bool] = ContextVar("counted", default=False)
"""Whether the call at hand was counted by the store."""


class World:
    """One store and one clock, processes with shares of one limit, and when each call was admitted."""

    def __init__(self, rate: Rate, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rate = rate
        self.now = 1000
        self.tat = 0
        self.charges = 0
        self.is_away = False
        self.admitted: list[int] = []
        self.held: list[asyncio.Future[None]] = []
        self.is_slow = False
        self.processes = [Shares(clock=lambda: self.now) for _ in range(processes)]
        monkeypatch.setattr(module, "get_store", lambda: self)

    async def acharge(self, charge: Charge) -> Charged:
        counted.set(True)
        if self.is_away:
            raise StoreUnavailable("away")
        await self._travel()
        self.charges += 1
        self.tat, charged = gcra.charge(self.tat, self.now, charge)
        if charged.is_admitted:
            self.admitted += [self.now] * charge.cost
        await self._travel()
        return charged

    async def _travel(self) -> None:
        if self.is_slow:
            self.held.append(asyncio.get_running_loop().create_future())
            await self.held[-1]

    async def call(self, process: int, cost: int = 1) -> int:
        counted.set(False)
        waiting = await self.processes[process].admit("a", self.rate, cost)
        if not waiting and not counted.get():
            self.admitted += [self.now] * cost
        return waiting

    def most_beyond(self) -> float:
        """The most that was admitted in any period beyond the burst and the rate."""
        beyond = [0.0]
        for first, since in enumerate(self.admitted):
            for last in range(first, len(self.admitted)):
                permitted = self.rate.burst + (self.admitted[last] - since) / self.rate.interval
                beyond.append(last - first + 1 - permitted)
        return max(beyond)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(0, 2)),
        st.tuples(st.just("calls"), st.integers(0, 2)),
        st.tuples(st.just("rest"), st.integers(1, 5 * MICROSECONDS)),
        st.tuples(st.just("arrive"), st.integers(0, 10)),
    ),
    max_size=60,
)


async def do(world: World, steps: list[tuple[str, int]]) -> None:
    """What is asked of the store arrives there, and is answered, when a step says so: in any order."""
    world.is_slow = True
    calls: list[asyncio.Task[int]] = []
    for step, number in steps:
        if step == "rest":
            world.now += number
        elif step == "arrive" and world.held:
            world.held.pop(number % len(world.held)).set_result(None)
        elif step in {"call", "calls"}:
            count = 1 if step == "call" else 8
            calls += [asyncio.create_task(world.call(number)) for _ in range(count)]
        for _ in range(4):
            await asyncio.sleep(0)
    while not all(each.done() for each in calls):
        while world.held:
            world.held.pop().set_result(None)
        await asyncio.sleep(0)


@settings(max_examples=150)
@given(st.integers(1, 60), st.integers(1, 3), STEPS)
def test_processes_exceed_a_limit_by_the_credit_of_each_at_most(
    burst: int, processes: int, steps: list[tuple[str, int]]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(Rate(10, 1, burst), processes, monkeypatch)
        asyncio.run(do(world, [(step, n % processes if "call" in step else n) for step, n in steps]))
        assert world.most_beyond() <= processes * (burst // SHARE)


async def test_they_do_exceed_it_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """So docs need not say less: each has served its credit when the others have used up the burst."""
    world = World(Rate(1, 60, 100), 3, monkeypatch)
    for process in (1, 2):
        for _ in range(10):
            assert await world.call(process) == 0
    while await world.call(0) == 0:
        pass
    assert await world.call(1) > 0
    assert await world.call(2) > 0
    assert world.most_beyond() == 2 * 10


async def test_calls_far_from_the_limit_cost_the_store_little(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Rate(600, 60, 600), 1, monkeypatch)
    for _ in range(60):
        assert await world.call(0) == 0
    assert world.charges == 0
    for _ in range(2 * 61):
        assert await world.call(0) == 0
    assert world.charges == 2


async def test_near_the_limit_every_call_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Rate(1, 60, 100), 2, monkeypatch)
    admitted = sum([await world.call(n % 2) == 0 for n in range(200)])
    assert 100 <= admitted <= 110
    assert world.charges >= 100 - 50 - 20


async def test_what_is_refused_costs_the_store_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Rate(1, 1, 5), 1, monkeypatch)
    for _ in range(5):
        assert await world.call(0) == 0
    waiting = await world.call(0)
    charges = world.charges
    for _ in range(1000):
        assert 0 < await world.call(0) <= waiting
    assert world.charges == charges
    world.now += waiting
    assert await world.call(0) == 0


@given(st.integers(1, 9), st.lists(st.integers(0, 2 * MICROSECONDS), max_size=30))
def test_a_small_limit_is_exact_and_so_is_how_long_to_wait(burst: int, pauses: list[int]) -> None:
    async def check() -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            world = World(Rate(1, 1, burst), 2, monkeypatch)
            for number, pause in enumerate(pauses):
                world.now += pause
                expected = gcra.wait(world.tat, world.now, world.rate)
                assert await world.call(number % 2) == expected

    asyncio.run(check())


async def test_those_who_come_while_the_store_is_asked_wait_for_one_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(Rate(600, 60, 600), 1, monkeypatch)
    for _ in range(60):
        await world.call(0)
    world.is_slow = True
    calls = [asyncio.create_task(world.call(0)) for _ in range(30)]
    while not all(each.done() for each in calls):
        await asyncio.sleep(0)
        while world.held:
            world.held.pop().set_result(None)
    assert {each.result() for each in calls} == {0}
    assert world.charges == 1


async def test_of_very_many_limits_those_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Rate(60, 60, 60), 1, monkeypatch)
    shares = world.processes[0]
    for n in range(REMEMBERED + 10):
        await shares.admit(f"{n}", world.rate)
    assert len(shares._shares) == REMEMBERED
    assert "9" not in shares._shares and "10" in shares._shares


async def test_a_limit_that_was_changed_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Rate(1, 60, 1), 1, monkeypatch)
    assert await world.call(0) == 0
    assert await world.call(0) > 0
    world.rate = Rate(1, 1, 50)
    world.tat = 0
    assert await world.call(0) == 0


async def test_while_the_store_is_away_a_process_counts_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(Rate(1, 1, 20), 1, monkeypatch)
    shares = world.processes[0]
    for _ in range(2):
        assert await world.call(0) == 0
    world.is_away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await world.call(0)
    assert sum(shares.admit_alone("a", world.rate) == 0 for _ in range(30)) == 20
    assert len(caplog.records) == 1
    world.is_away = False
    world.now += 30 * MICROSECONDS
    assert await world.call(0) == 0
    assert world.tat - world.now == 3 * MICROSECONDS, "what was spent on credit is counted after all"


async def test_a_call_that_is_cancelled_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Rate(1, 60, 20), 1, monkeypatch)
    for _ in range(2):
        await world.call(0)
    world.is_slow = True
    call = asyncio.create_task(world.call(0))
    while not world.held:
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait({call})
    world.is_slow = False
    assert await world.call(0) == 0
    assert world.tat - world.now == 3 * 60 * MICROSECONDS
