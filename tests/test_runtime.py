"""The process's one loop: a thread's, or the server's; and what it carries."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import pytest
from django.test import Client

from mcp_sessions import runtime, send_session_message
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.models import Session
from mcp_sessions.routing import mount
from mcp_sessions.runtime import Iterated, Phase, Runtime, adopt, current, peek, run, run_sync
from tests.doors.client import initialize, request
from tests.process import eager, eventually, in_thread, stop
from tests.servers import DEADLINE, lifespans

THREAD = "mcp-runtime"


@pytest.fixture(autouse=True)
def no_lifespans() -> Iterator[None]:
    lifespans.clear()
    yield
    lifespans.clear()


async def where() -> tuple[asyncio.AbstractEventLoop, str]:
    return asyncio.get_running_loop(), threading.current_thread().name


# The thread


def test_there_is_none_until_it_is_needed(process: None) -> None:
    assert peek() is None
    assert current() is current() is peek()


def test_without_a_servers_loop_it_is_a_threads(process: None) -> None:
    found = {run_sync(where()) for _ in range(3)}
    assert found == {(current().loop, THREAD)}
    assert not current().is_here


async def test_another_loop_submits_to_it(process: None) -> None:
    loop, thread = await run(where())
    assert thread == THREAD
    assert loop is current().loop is not asyncio.get_running_loop()


def test_every_thread_has_the_same(process: None) -> None:
    found: list[Any] = []
    # A thread of an earlier test may take its time to end.
    before = set(threading.enumerate())
    barrier = threading.Barrier(8)

    def look() -> None:
        barrier.wait(DEADLINE)
        found.append(current())

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(found) == 8 and set(found) == {current()}
    assert [each.name for each in threading.enumerate() if each not in before].count(THREAD) == 1


async def test_exceptions_and_cancellation_cross_over(process: None) -> None:
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await run(fail())
    with pytest.raises(KeyError, match="mine"):
        await in_thread(lambda: run_sync(fail()))
    was_cancelled = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    task = asyncio.create_task(run(wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # If the work had not begun yet, there was nothing to be cancelled.
    await run(where())
    assert was_cancelled.is_set() or task.cancelled()


def post(client: Client, message: Any, **headers: str) -> Any:
    answer = client.post(
        "/mcp",
        json.dumps(message),
        content_type="application/json",
        headers={"Accept": "application/json, text/event-stream", **headers},
    )
    assert answer.status_code in (200, 202), answer.content
    return answer


def test_under_wsgi_every_request_meets_the_same_runtime(process: None) -> None:
    client = Client()
    session_id = post(client, initialize())["Mcp-Session-Id"]
    first = current()
    for _ in range(3):
        post(client, request("tools/list"), **{"Mcp-Session-Id": session_id})
    assert current() is first and run_sync(where())[1] == THREAD
    assert lifespans == ["entered"]
    assert Session.objects.count() == 1


# The server's loop


async def test_a_servers_loop_is_adopted(process: None) -> None:
    adopted = adopt()
    assert adopt() is adopted is current() is peek()
    assert adopted.is_here
    assert await run(where()) == (asyncio.get_running_loop(), threading.current_thread().name)


async def test_a_servers_loop_takes_the_place_of_a_thread(process: None) -> None:
    thread = await in_thread(current)
    adopted = adopt()
    assert adopted is not thread
    assert await in_thread(current) is adopted
    loop, _ = await in_thread(lambda: run_sync(where()))
    assert loop is asyncio.get_running_loop()
    # It was given up: nothing else ends its thread before the process does.
    await stop(thread)


async def test_the_synchronous_twin_raises_on_the_loop(process: None) -> None:
    adopt()
    with pytest.raises(RuntimeError, match="async variant"):
        run_sync(where())


async def test_a_closed_loop_is_not_used(process: None) -> None:
    def adopt_and_leave() -> Runtime:
        async def main() -> Runtime:
            return adopt()

        return asyncio.run(main())

    left = await asyncio.to_thread(adopt_and_leave)
    assert peek() is None
    assert current() is not left
    assert (await run(where()))[1] == THREAD


# What it carries


async def test_a_service_is_made_once(process: None) -> None:
    factory = mock.Mock()
    adopted = adopt()
    assert adopted.service(factory) is adopted.service(factory)
    factory.assert_called_once_with(adopted)


async def test_a_task_that_fails_is_logged(process: None, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise KeyError("mine")

    task = adopt().spawn(fail(), "failing")
    with pytest.raises(KeyError):
        await task
    await asyncio.sleep(0)
    (record,) = [record for record in caplog.records if record.name == "mcp_sessions.runtime"]
    assert record.levelno == logging.ERROR and "failing" in record.getMessage()
    assert record.exc_info is not None


async def test_a_task_begins_after_its_caller_has_it(process: None) -> None:
    """Whoever keeps a task until it is over would keep one that is over for ever."""
    runtime, began = adopt(), []

    async def work() -> None:
        began.append(True)

    runtime.loop.set_task_factory(eager)
    task = runtime.spawn(work(), "test")
    runtime.loop.set_task_factory(None)
    assert not began
    await task
    assert began


def test_the_runtime_is_imported_where_nothing_forks() -> None:
    """On Windows."""
    code = "import os; del os.fork, os.register_at_fork; import mcp_sessions.runtime"
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_shutdown_ends_what_runs_and_leaves_what_is_held(process: None) -> None:
    adopted, log = adopt(), []

    @asynccontextmanager
    async def held(name: str) -> AsyncIterator[str]:
        task = asyncio.current_task()
        try:
            yield name
        finally:
            # Cancel scopes must be left by the task that entered them.
            assert asyncio.current_task() is task
            log.append(f"{name} left")

    async def close(name: str) -> None:
        log.append(f"{name} closed")

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("task ended")

    for name, phase in (("first", Phase.RELEASE), ("second", Phase.DRAIN), ("third", Phase.WRITE)):
        assert await adopted.hold(held(name)) == name
        adopted.at_shutdown(phase, lambda name=name: close(name))  # type: ignore[misc]
    task = adopted.spawn(work(), "work")
    await asyncio.sleep(0)
    await adopted.shutdown()
    assert task.cancelled()
    closed = ["second closed", "third closed", "first closed"]
    assert log == [*closed, "task ended", "third left", "second left", "first left"]
    assert peek() is None


async def test_what_cannot_be_entered_raises(process: None) -> None:
    @asynccontextmanager
    async def broken(is_broken: bool = True) -> AsyncIterator[None]:
        if is_broken:
            raise KeyError("mine")
        yield

    with pytest.raises(KeyError, match="mine"):
        await adopt().hold(broken())


async def test_what_cannot_be_left_keeps_nothing_else_from_it(
    process: None, caplog: pytest.LogCaptureFixture
) -> None:
    adopted, log = adopt(), []

    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        yield
        log.append("broken")
        raise KeyError("mine")

    async def close() -> None:
        raise KeyError("mine too")

    await adopted.hold(broken())
    await adopted.hold(broken())
    adopted.at_shutdown(Phase.DRAIN, close)
    await adopted.shutdown()
    assert log == ["broken", "broken"]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 3


class Numbers:
    """Chunks that note where they are asked for."""

    def __init__(self) -> None:
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self.is_closed = threading.Event()

    def __aiter__(self) -> Numbers:
        return self

    async def __anext__(self) -> bytes:
        self.loops.add(asyncio.get_running_loop())
        if len(self.loops) > 3:
            raise StopAsyncIteration
        return b"1"

    async def aclose(self) -> None:
        self.loops.add(asyncio.get_running_loop())
        self.is_closed.set()


@pytest.mark.parametrize("at_home", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_chunks_are_stepped_on_the_runtimes_loop(process: None, at_home: bool, is_async: bool) -> None:
    loop = adopt().loop if at_home else current().loop
    numbers = Numbers()
    iterated = Iterated(numbers)
    assert [await anext(iterated) for _ in range(2)] == [b"1", b"1"]
    if is_async:
        await iterated.aclose()
    else:
        iterated.close()
    await eventually(numbers.is_closed.is_set)
    assert numbers.loops == {loop}


def test_chunks_may_be_closed_when_everything_is_over(process: None) -> None:
    Iterated(Numbers()).close()
    assert peek() is None


# Lifespans


class Lifespan:
    """The lifespan half of an ASGI server."""

    def __init__(self, application: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self._incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self.task = asyncio.create_task(application({"type": "lifespan"}, self._incoming.get, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(dict(message))

    async def tell(self, kind: str) -> dict[str, Any]:
        before = len(self.sent)
        self._incoming.put_nowait({"type": f"lifespan.{kind}"})
        await eventually(lambda: len(self.sent) > before)
        return self.sent[-1]


async def test_a_lifespan_is_entered_once_and_left_at_shutdown(process: None, settings: Any) -> None:
    """The same object at two paths is one server."""
    settings.MCP_SESSIONS = {"SERVERS": {"/a": "tests.servers:server", "/b": "tests.servers:server"}}
    lifespan = Lifespan(mount(mock.AsyncMock()))
    assert await lifespan.tell("startup") == {"type": "lifespan.startup.complete"}
    assert lifespans == ["entered"]
    assert current().is_here
    assert await lifespan.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
    assert lifespans == ["entered", "left"]
    await lifespan.task
    assert peek() is None


async def test_a_server_that_cannot_be_loaded_fails_the_startup(process: None, settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVER": "tests.servers:nothing"}
    lifespan = Lifespan(mount(mock.AsyncMock()))
    failed = await lifespan.tell("startup")
    assert failed["type"] == "lifespan.startup.failed"
    assert "tests.servers:nothing" in failed["message"]
    await lifespan.task


def test_settings_that_cannot_work_are_not_mounted(settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVER": "tests.servers:server", "MAX_BATSH": 3}
    with pytest.raises(ConfigurationError, match="MAX_BATCH"):
        mount(mock.AsyncMock())


STORES = "mcp_sessions.stores"


@pytest.mark.parametrize(
    "options",
    [
        {"SESSION_ID_GENERATOR": "math.floor"},
        {"SESSION_ID_GENERATOR": lambda: "C" * 32},
        {"SESSION_SERIALIZER": "math"},
        {"SESSION_SERIALIZER": "tests.serializers.Mute"},
        {"SESSION_SERIALIZER": "tests.serializers.Unmade"},
        {"SESSION_STORE": {"BACKEND": "no.such.Store"}},
        {"SESSION_STORE": {"BACKEND": f"{STORES}.redis.RedisSessionStore"}},
        {"SESSION_STORE": {"BACKEND": f"{STORES}.database.DatabaseSessionStore", "OPTIONS": {"alias": "no"}}},
        {"CHANNEL_LAYER": "no"},
    ],
)
def test_what_cannot_work_is_not_mounted(settings: Any, options: dict[str, Any]) -> None:
    settings.MCP_SESSIONS = {"SERVER": "tests.servers:server", **options}
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        mount(mock.AsyncMock())


# Forks

FORK = """
    import os, threading, warnings
    import django
    django.setup()
    from mcp_sessions.lifecycle import open_session
    from mcp_sessions.runtime import current, peek, run_sync

    def open_one():
        run_sync(open_session("/mcp", "", {}))

    open_one()
    parent = current()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
        pid = os.fork()
    if pid == 0:
        is_fresh = peek() is None
        open_one()
        os._exit(0 if is_fresh and current() is not parent else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    open_one()
    assert current() is parent
    print(threading.active_count() > 1)
"""


def test_a_fork_has_a_runtime_of_its_own(process: None) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(FORK)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=6 * DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert Session.objects.count() == 3


def test_forgetting_another_runtime_changes_nothing(process: None) -> None:
    kept = current()
    runtime.forget(mock.Mock())
    assert peek() is kept


async def test_synchronous_messages_are_refused_on_a_loop(process: None) -> None:
    """Django refuses the transaction, or the runtime its loop: nothing blocks, and nothing is sent."""
    adopt()
    with pytest.raises((RuntimeError, Exception), match=r"async context|async variant"):
        send_session_message("0" * 24, event="a")


async def test_a_task_that_does_not_stop_does_not_keep_the_process(
    process: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mcp_sessions.runtime.STOP_SECONDS", 0.01)
    used, may_end = adopt(), asyncio.Event()

    async def go_on() -> None:
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    going_on = used.spawn(go_on(), "stubborn")
    await asyncio.sleep(0)
    try:
        await asyncio.wait_for(used.shutdown(), DEADLINE)
        assert not going_on.done()
        assert "the cancelled task mcp_sessions:stubborn still runs" in caplog.text
    finally:
        may_end.set()
        await going_on


# Who waits in another thread while the process stops


async def asked(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """What a thread has asked the runtime, and waits for."""
    begun = asyncio.Event()

    async def begin() -> Any:
        begun.set()
        return await work

    waiting = asyncio.create_task(asyncio.to_thread(run_sync, begin()))
    await asyncio.wait_for(begun.wait(), DEADLINE)
    return waiting


async def test_what_another_thread_asked_is_waited_for(process: None) -> None:
    used, may_end = adopt(), asyncio.Event()

    async def answer() -> str:
        await may_end.wait()
        return "answered"

    async def let_it_end() -> None:
        may_end.set()

    waiting = await asked(answer())
    used.at_shutdown(Phase.WRITE, let_it_end)
    await asyncio.wait_for(used.shutdown(), DEADLINE)
    assert await asyncio.wait_for(waiting, DEADLINE) == "answered"


async def test_nobody_waits_for_a_runtime_that_is_gone(
    process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.runtime.STOP_SECONDS", 0.01)
    used = adopt()
    waiting = await asked(asyncio.Event().wait())
    await asyncio.wait_for(used.shutdown(), DEADLINE)
    with pytest.raises(RuntimeError, match="The process stops"):
        await asyncio.wait_for(waiting, DEADLINE)
    # One who had the runtime before it was gone, and comes after.
    late = await asyncio.to_thread(used.submit, where())
    assert late.cancelled()


async def test_nobody_on_another_loop_waits_for_it_either(
    process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.runtime.STOP_SECONDS", 0.01)
    used, begun = adopt(), asyncio.Event()

    async def wait_for_ever() -> None:
        begun.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(run(wait_for_ever()))))
    await asyncio.wait_for(begun.wait(), DEADLINE)
    await asyncio.wait_for(used.shutdown(), DEADLINE)
    with pytest.raises(RuntimeError, match="The process stops"):
        await asyncio.wait_for(waiting, DEADLINE)
