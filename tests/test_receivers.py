"""Receivers of signals: one that raises or hangs stops no other."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import pytest
from asgiref.sync import sync_to_async
from django.dispatch import Signal

from mcp_sessions import deferred, end_session, receivers
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.lifecycle.live_count import _tell
from mcp_sessions.metrics import SessionMetrics
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import adopt, current
from mcp_sessions.signal_queue import queue_signal
from mcp_sessions.signals import session_created, session_ended
from tests.process import eventually
from tests.records import new_session as new_record
from tests.servers import DEADLINE
from tests.sessions import Open

pytestmark = pytest.mark.usefixtures("process")

Connect = Callable[..., None]
Lines = Callable[[], list[str]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    connected: list[tuple[Signal, Any]] = []

    def connect(*found: Any, signal: Signal = session_created) -> None:
        for receiver in found:
            signal.connect(receiver)
            connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    with caplog.at_level(logging.ERROR, "mcp_sessions"):
        yield lambda: [each.getMessage() for each in caplog.records if each.name == "mcp_sessions.signals"]


@pytest.fixture
def hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first receiver that does not return is given up at once; others have a slow machine's time."""
    give_up = receivers.Receivers._give_up

    def give_up_once(self: receivers.Receivers, *args: Any, **more: Any) -> None:
        give_up(self, *args, **more)
        monkeypatch.setattr(receivers, "HANG_SECONDS", DEADLINE)

    monkeypatch.setattr(receivers.Receivers, "_give_up", give_up_once)
    monkeypatch.setattr(receivers, "HANG_SECONDS", 0.0)


def tell(*reasons: str) -> None:
    adopt()
    for reason in reasons:
        queue_signal(session_created, new_record(), reason)


async def test_what_raises_is_told_with_its_traceback_once_and_then_counted(
    connect: Connect, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def fail(**_: Any) -> None:
        raise ValueError("a mistake")

    def leave(**_: Any) -> None:
        raise SystemExit

    async def fail_too(**_: Any) -> None:
        raise ValueError("another")

    def hear(reason: str, **_: Any) -> None:
        heard.append(reason)

    connect(fail, leave, fail_too, hear)
    tell(*map(str, range(12)))
    await flush_deferred()
    assert heard == list(map(str, range(12)))
    told = [each for each in caplog.records if each.name == "mcp_sessions.signals"]
    assert [bool(each.exc_info) for each in told] == [True] * 3 + [False] * 3
    assert all("has failed 10 times" in line for line in lines()[3:])


@pytest.mark.usefixtures("hangs")
@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "async"])
async def test_what_hangs_stops_no_other_and_is_called_again_when_it_has_returned(
    connect: Connect, lines: Lines, is_plain: bool
) -> None:
    called, heard = list[str](), list[str]()
    go_on, go_on_too = threading.Event(), asyncio.Event()

    def hang(reason: str, **_: Any) -> None:
        called.append(reason)
        assert go_on.wait(DEADLINE)

    async def hang_too(reason: str, **_: Any) -> None:
        called.append(reason)
        await go_on_too.wait()

    def hear(reason: str, **_: Any) -> None:
        heard.append(reason)

    async def hear_too(reason: str, **_: Any) -> None:
        heard.append(reason)

    connect(hang if is_plain else hang_too)
    tell("a")
    await flush_deferred()
    await eventually(lambda: called == ["a"])
    connect(hear, hear_too)
    tell("b", "c")
    await flush_deferred()
    assert (heard, called) == (["b", "b", "c", "c"], ["a"])
    go_on.set()
    go_on_too.set()
    await eventually(lambda: len(lines()) == 2)
    tell("d")
    await flush_deferred()
    assert called == ["a", "d"]
    name = (hang if is_plain else hang_too).__qualname__
    assert lines() == [
        f"receiver {name} has not returned for 0.0 s, and is skipped until it does",
        f"receiver {name} has returned; it missed 2 signals",
    ]


class Hanging:
    """Its methods are other objects each time they are asked for, and Django asks for each signal."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.go_on = threading.Event()

    def hang(self, reason: str, **_: Any) -> None:
        self.called.append(reason)
        assert self.go_on.wait(DEADLINE)


@pytest.mark.usefixtures("hangs")
async def test_a_method_that_hangs_is_not_called_again_either(connect: Connect, lines: Lines) -> None:
    hanging, another = Hanging(), Hanging()
    another.go_on.set()
    connect(hanging.hang, another.hang)
    tell("a")
    await flush_deferred()
    await eventually(lambda: hanging.called == ["a"])
    tell("b")
    await flush_deferred()
    assert (hanging.called, another.called) == (["a"], ["a", "b"])
    hanging.go_on.set()
    await eventually(lambda: len(lines()) == 2)
    assert lines()[1] == "receiver Hanging.hang has returned; it missed 1 signals"


class HangingMetrics(SessionMetrics):
    go_on: ClassVar[threading.Event]

    def record_session_created(self, session: SessionRecord) -> None:
        assert self.go_on.wait(DEADLINE)

    def record_active_count(self, count: int) -> None:
        assert self.go_on.wait(DEADLINE)


class Counting(SessionMetrics):
    told: ClassVar[list[str]] = []

    def record_session_created(self, session: SessionRecord) -> None:
        self.told.append("created")

    def record_active_count(self, count: int) -> None:
        self.told.append(f"{count} live")


@pytest.mark.usefixtures("hangs")
async def test_metrics_that_hang_stop_no_others(settings: Any, lines: Lines) -> None:
    HangingMetrics.go_on, Counting.told = threading.Event(), []
    metrics = [f"{__name__}.HangingMetrics", f"{__name__}.Counting"]
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_METRICS": metrics}
    tell("initialize")
    deferred.defer("a count", partial(_tell, 7))
    await flush_deferred()
    assert Counting.told == ["created", "7 live"]
    skipped = f"receiver {metrics[0]} has not returned for 0.0 s, and is skipped until it does"
    assert lines() == [skipped]
    await current().shutdown()
    assert lines()[1:] == [f"receiver {metrics[0]} has not returned; it missed 1 signals"]
    HangingMetrics.go_on.set()


async def test_plain_receivers_do_not_wait_for_synchronous_code_of_others(
    connect: Connect, new_session: Open
) -> None:
    """Which asgiref runs in one thread, and which may be waiting for them."""
    told: list[str] = []

    def hear(reason: str, **_: Any) -> None:
        told.append(reason)

    connect(hear, signal=session_ended)
    key = (await new_session()).key
    assert await asyncio.wait_for(sync_to_async(in_another_loop)(key), DEADLINE)
    assert told == ["operator"]


def in_another_loop(key: str) -> bool:
    return end_session(key) is not None


async def test_what_too_slow_receivers_leave_is_bounded(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deferred, "MAX_WAITING", 2)
    heard: list[str] = []

    def hear(reason: str, **_: Any) -> None:
        heard.append(reason)

    connect(hear)
    tell(*"abcde")
    await flush_deferred()
    assert heard == ["a", "b"]
    first, last = [each.getMessage() for each in caplog.records if each.name == "mcp_sessions.deferred"]
    assert first.endswith("and what comes next, is given up: 2 others wait")
    assert last == "signals that were given up: 3"
