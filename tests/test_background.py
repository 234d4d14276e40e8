"""The two kinds of background work, and the rules that they share."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import ContextVar
from typing import Any, Final

import pytest

from mcp_sessions import background
from mcp_sessions.background import Coalesced, Outage, Periodic
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.runtime import Phase, Runtime, adopt
from tests.process import eventually, stop
from tests.servers import DEADLINE

LOGGER: Final = "mcp_sessions.background"
NEVER: Final = 3600.0
"""Seconds that no test lasts."""

request_variable: ContextVar[str] = ContextVar("request_variable", default="none")


@pytest.fixture
async def runtime(
    process: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Runtime:
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)
    caplog.set_level(logging.INFO, LOGGER)
    return adopt()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    return lambda: [each.getMessage() for each in caplog.records if each.name == LOGGER]


class Work:
    """Counts its runs. It can be held up, and raises what it is given to raise."""

    def __init__(self, *errors: BaseException) -> None:
        self.runs = 0
        self.errors = list(errors)
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.has_begun = asyncio.Event()

    async def __call__(self) -> None:
        self.runs += 1
        self.has_begun.set()
        await self.may_go_on.wait()
        if self.errors:
            raise self.errors.pop(0)


# -- coalesced ------------------------------------------------------------------------------


async def test_requests_of_one_moment_are_one_run(runtime: Runtime) -> None:
    work = Work()
    coalesced = Coalesced(runtime, "work", work)
    for _ in range(10):
        coalesced.request()
    await coalesced.flush()
    assert work.runs == 1
    assert coalesced.is_idle


async def test_requests_during_a_run_are_one_more_run(runtime: Runtime) -> None:
    work = Work()
    work.may_go_on.clear()
    coalesced = Coalesced(runtime, "work", work)
    coalesced.request()
    await work.has_begun.wait()
    for _ in range(10):
        coalesced.request()
    work.may_go_on.set()
    await coalesced.flush()
    assert work.runs == 2


async def test_the_earliest_request_counts(runtime: Runtime) -> None:
    work = Work()
    coalesced = Coalesced(runtime, "work", work)
    coalesced.request(within=NEVER)
    coalesced.request(within=0.01)
    coalesced.request(within=NEVER)
    async with asyncio.timeout(DEADLINE):
        await coalesced.next_run()
    assert (work.runs, coalesced.is_idle) == (1, True)


async def test_flush_does_not_wait_for_a_pause(runtime: Runtime) -> None:
    work = Work()
    coalesced = Coalesced(runtime, "work", work)
    coalesced.request(within=NEVER)
    async with asyncio.timeout(DEADLINE):
        await coalesced.flush()
    assert work.runs == 1


async def test_run_waits_for_a_run_of_its_own(runtime: Runtime) -> None:
    """What is under way may have begun before the caller noted what it wants done."""
    work = Work()
    work.may_go_on.clear()
    coalesced = Coalesced(runtime, "work", work)
    coalesced.request()
    await work.has_begun.wait()
    running = asyncio.create_task(coalesced.run())
    await asyncio.sleep(0)
    work.may_go_on.set()
    await running
    assert work.runs == 2


async def test_run_waits_for_a_run_of_its_own_though_the_one_under_way_fails(runtime: Runtime) -> None:
    work = Work(StoreUnavailable("a row is locked"))
    work.may_go_on.clear()
    coalesced = Coalesced(runtime, "work", work)
    coalesced.request()
    await work.has_begun.wait()
    running = asyncio.create_task(coalesced.run())
    await asyncio.sleep(0)
    work.may_go_on.set()
    async with asyncio.timeout(DEADLINE):
        await running
    assert (work.runs, coalesced.is_failing) == (2, False)


async def test_run_returns_after_a_run_that_fails(runtime: Runtime) -> None:
    work = Work(StoreUnavailable("away"))
    coalesced = Coalesced(runtime, "work", work)
    await coalesced.run()
    assert (work.runs, coalesced.is_failing) == (1, True)
    await coalesced.flush()
    assert (work.runs, coalesced.is_failing) == (2, False)


async def test_what_was_cancelled_is_not_done(runtime: Runtime) -> None:
    work = Work()
    coalesced = Coalesced(runtime, "work", work)
    coalesced.request(within=NEVER)
    coalesced.cancel()
    await coalesced.flush()
    assert work.runs == 0


# -- periodic -------------------------------------------------------------------------------


async def test_periodic_work_runs_again_and_again_and_sooner_on_request(runtime: Runtime) -> None:
    work, pause = Work(), 0.01
    periodic = Periodic(runtime, "work", work, lambda: pause)
    periodic.start()
    periodic.start()
    await eventually(lambda: work.runs >= 3)
    pause = NEVER
    await periodic.run()
    before = work.runs
    periodic.request()
    await eventually(lambda: work.runs == before + 1)
    periodic.stop()


async def test_a_pause_that_cannot_be_told_ends_nothing(
    runtime: Runtime, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MAX_RETRY_SECONDS", 0.01)
    work, errors = Work(), [ValueError("a setting is wrong for a moment") for _ in range(3)]

    def pause() -> float:
        if errors:
            raise errors.pop()
        return 0.01

    periodic = Periodic(runtime, "work", work, pause)
    periodic.start()
    await eventually(lambda: work.runs >= 5)
    periodic.stop()
    failures = [line for line in lines() if "a setting is wrong" in line]
    assert len(failures) == 1 and "background work 'work: pause' succeeds again" in lines()


async def test_it_rests_while_it_is_not_needed(runtime: Runtime) -> None:
    work, needed = Work(), [True]
    periodic = Periodic(runtime, "work", work, lambda: 0.01, while_needed=lambda: needed)
    periodic.start()
    await periodic.next_run()
    needed.clear()
    await eventually(lambda: periodic.is_idle)
    before = work.runs
    needed.append(True)
    periodic.start()
    await eventually(lambda: work.runs > before)
    periodic.stop()


# -- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [StoreUnavailable("away"), RuntimeError("unforeseen"), SystemExit(1), asyncio.CancelledError()]
)
async def test_no_error_ends_it(runtime: Runtime, error: BaseException) -> None:
    """Some exceptions stop an event loop, or end a task without a word."""
    work = Work(error, error)
    periodic = Periodic(runtime, "work", work, lambda: 0.01)
    periodic.start()
    await eventually(lambda: work.runs >= 4)
    assert not periodic.is_failing
    periodic.stop()


async def test_an_outage_is_logged_once_and_so_is_its_end(runtime: Runtime, lines: Any) -> None:
    errors = [StoreUnavailable("away"), StoreUnavailable("away"), ValueError("odd"), StoreUnavailable("away")]
    work = Work(*errors)
    coalesced = Coalesced(runtime, "work", work)
    coalesced.request()
    await coalesced.flush()
    assert work.runs == len(errors) + 1
    assert lines() == [
        "background work 'work' fails and is retried: away",
        "background work 'work' fails and is retried: ValueError('odd')",
        "background work 'work' succeeds again",
    ]


async def test_works_that_share_an_outage_log_it_once(runtime: Runtime, lines: Any) -> None:
    outage = Outage("watches")
    works = [Coalesced(runtime, "watch", Work(StoreUnavailable("away")), outage=outage) for _ in range(5)]
    for each in works:
        each.request()
    await asyncio.gather(*(each.flush() for each in works))
    assert lines() == [
        "background work 'watches' fails and is retried: away",
        "background work 'watches' succeeds again",
    ]


async def test_it_is_backed_off_whatever_is_requested(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", NEVER)
    work = Work(StoreUnavailable("away"))
    coalesced = Coalesced(runtime, "work", work)
    await coalesced.run()
    for _ in range(10):
        coalesced.request()
        await asyncio.sleep(0)
    assert work.runs == 1


def test_pauses_between_retries_grow_up_to_a_bound() -> None:
    loop = asyncio.new_event_loop()
    try:
        coalesced = Coalesced(Runtime(loop), "work", Work())
        coalesced._is_failing = True
        pauses = [coalesced._get_pause() for _ in range(5)]
    finally:
        loop.close()
    assert pauses == [1, 2, 4, 4, 4]


async def test_one_that_hangs_or_fails_stops_no_other(runtime: Runtime) -> None:
    hanging, failing, fine = Work(), Work(*[ValueError("no")] * 1000), Work()
    hanging.may_go_on.clear()
    works = [Periodic(runtime, "work", each, lambda: 0.01) for each in (hanging, failing, fine)]
    for each in works:
        each.start()
    await eventually(lambda: fine.runs >= 5 and failing.runs >= 3 and hanging.runs == 1)
    for each in works:
        each.stop()


# -- shutdown and context ----------------------------------------------------------------------


async def test_work_with_a_phase_is_finished_before_the_process_stops(runtime: Runtime) -> None:
    first, second = Work(StoreUnavailable("away")), Work()
    order: list[str] = []

    async def tell() -> None:
        await second()
        order.append("tell")

    async def write() -> None:
        await first()
        order.append("write")

    Coalesced(runtime, "second", tell, finish_in=Phase.TELL).request(within=NEVER)
    Coalesced(runtime, "first", write, finish_in=Phase.WRITE).request(within=NEVER)
    await stop(runtime)
    assert (first.runs, order) == (2, ["write", "tell"])


async def test_what_cannot_be_finished_is_said(
    runtime: Runtime, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "STOP_SECONDS", 0.01)
    work = Work()
    work.may_go_on.clear()
    Coalesced(runtime, "work", work, finish_in=Phase.WRITE, unfinished=lambda: "3 rows").request()
    await stop(runtime)
    assert lines() == ["the process stops, and this is not done: 3 rows"]


async def test_a_stopping_process_ends_periodic_work_after_its_run(runtime: Runtime) -> None:
    work = Work()
    work.may_go_on.clear()
    periodic = Periodic(runtime, "work", work, lambda: 0.0, finish_in=Phase.DRAIN)
    periodic.start()
    await work.has_begun.wait()
    stopping = asyncio.create_task(stop(runtime))
    await eventually(lambda: runtime.draining)
    work.may_go_on.set()
    await stopping
    assert work.runs == 1


async def test_nothing_begins_once_the_process_is_over(runtime: Runtime) -> None:
    work = Work()
    coalesced, periodic = Coalesced(runtime, "work", work), Periodic(runtime, "work", work, lambda: 0.0)
    await stop(runtime)
    coalesced.request()
    periodic.start(within=0.0)
    await coalesced.run()
    await asyncio.sleep(0)
    assert work.runs == 0


async def test_a_run_has_no_requests_context(runtime: Runtime) -> None:
    found: list[str] = []

    async def note() -> None:
        found.append(request_variable.get())

    coalesced = Coalesced(runtime, "work", note)
    request_variable.set("a request's")
    coalesced.request()
    await coalesced.flush()
    coalesced.request(within=0.001)
    await coalesced.next_run()
    assert found == ["none", "none"]


async def test_an_outage_may_be_another_threads(runtime: Runtime, lines: Any) -> None:
    """The heartbeat has a thread of its own, and the same rule for what it logs."""
    outage = Outage("heartbeat")

    def fail_twice() -> None:
        for _ in range(2):
            outage.add(fail_twice, StoreUnavailable("away"))
        outage.end(fail_twice)

    thread = threading.Thread(target=fail_twice)
    thread.start()
    thread.join(DEADLINE)
    assert len(lines()) == 2
