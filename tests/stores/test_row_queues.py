"""Of what concerns one row the store's threads do one piece at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mcp_sessions.records import Append, Claim, Send
from mcp_sessions.stores.database.threads import Answer, RowQueues, Task, row_of

DEADLINE = 60


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def handed_over() -> Task[str]:
    """A task that the threads have, and have not begun."""
    task = Task(lambda: "answer")
    task.handed_at = time.monotonic()
    return task


def test_who_waits_for_a_row_leaves_the_threads_to_others(executor: ThreadPoolExecutor) -> None:
    queues, is_free = RowQueues(executor), threading.Event()
    waiting = [queues.submit("a", lambda: is_free.wait(DEADLINE)) for _ in range(4)]
    others = [queues.submit(row, lambda: "done") for row in ("b", "c", None)]
    assert [other.result(DEADLINE) for other in others] == ["done"] * 3
    is_free.set()
    assert [each.result(DEADLINE) for each in waiting] == [True] * 4


def test_each_has_its_turn_in_order_whatever_the_one_before_did(executor: ThreadPoolExecutor) -> None:
    queues, order = RowQueues(executor), list[int]()

    def work(number: int) -> None:
        order.append(number)
        if number % 2:
            raise ValueError(number)

    waiting = [queues.submit("a", lambda n=n: work(n)) for n in range(9)]
    errors = [type(each.exception(DEADLINE)) for each in waiting]
    assert errors == [type(None), ValueError] * 4 + [type(None)]
    assert order == list(range(9))


def test_what_nobody_waits_for_any_more_is_not_begun(executor: ThreadPoolExecutor) -> None:
    queues, is_free, begun = RowQueues(executor), threading.Event(), list[int]()
    first = queues.submit("a", lambda: is_free.wait(DEADLINE))
    dropped, last = (queues.submit("a", lambda n=n: begun.append(n)) for n in range(2))
    assert dropped.cancel()
    is_free.set()
    last.result(DEADLINE)
    assert first.result(DEADLINE) and begun == [1]


def test_what_waits_when_the_threads_end_is_told_so() -> None:
    executor, is_free = ThreadPoolExecutor(1), threading.Event()
    queues = RowQueues(executor)
    first, second = (queues.submit("a", lambda: is_free.wait(DEADLINE)) for _ in range(2))
    executor.shutdown(wait=False)
    is_free.set()
    assert first.result(DEADLINE)
    assert isinstance(second.exception(DEADLINE), RuntimeError)


async def test_a_loop_that_stood_still_finds_the_answer() -> None:
    """It comes to look at the clock later than the answer came."""
    task = handed_over()
    found = Answer(task, 0.001)
    time.sleep(0.01)
    task.run()
    assert await found.waiting == "answer"
    assert not found.is_late


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    task = handed_over()
    found = Answer(task, 0.001)
    with pytest.raises(asyncio.CancelledError):
        await found.waiting
    assert found.is_late and task.cancelled() and not found.waited_for_row


async def test_what_waits_for_its_row_is_not_late_by_the_time_of_an_answer() -> None:
    found = Answer(task := Task(lambda: "answer"), 0.001, time.monotonic() + DEADLINE)
    time.sleep(0.01)
    found._give_up()
    assert not found.is_late
    task.handed_at = time.monotonic() + DEADLINE
    task.run()
    assert await found.waiting == "answer"


async def test_what_waits_for_its_row_waits_no_longer_than_it_may() -> None:
    found = Answer(task := Task(lambda: "answer"), DEADLINE, time.monotonic() + 0.001)
    with pytest.raises(asyncio.CancelledError):
        await found.waiting
    assert found.is_late and task.cancelled() and found.waited_for_row


def test_what_concerns_one_row() -> None:
    append, send = Append("stream", ()), Send("session", "message", "a")
    claim = Claim("session", "name", "worker", "token", 60)
    assert row_of("attach", ("session", "stream", "worker", 0, None)) == "session"
    assert row_of("load", ("digest",)) is None
    assert row_of("claim", (claim, None)) == row_of("settle", (claim, "outcome")) == "session"
    assert row_of("append", ([append, append], "token")) == "stream"
    assert row_of("append", ([send], "token")) == "session"
    assert row_of("append", ([append, send], "token")) is None
    assert row_of("append", ([], "token")) is None
