"""What a test needs of the process it runs in: a runtime of its own, and a look at the rows."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from unittest import mock

from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, connections

from mcp_sessions import runtime
from mcp_sessions.models import Session, Stream, StreamEvent, Subscription
from mcp_sessions.runtime import Runtime
from tests.servers import DEADLINE

T = TypeVar("T")

TABLES: Final = (Session, Stream, StreamEvent, Subscription)
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@asynccontextmanager
async def own_process() -> AsyncIterator[None]:
    """Whatever the block starts in the process ends with it: runtime, store, threads, signal handlers."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    if (left := runtime.peek()) is not None:
        # Of a test that asked for no process of its own.
        await stop(left)
    try:
        # The mount sweeps and freezes the heap once a process; the heap of a test run is large.
        with mock.patch("mcp_sessions.routing.gc"):
            yield
    finally:
        if (used := runtime.peek()) is not None:
            await stop(used)
        await asyncio.to_thread(close_store)  # closing a connection blocks
        for number, handler in handlers.items():
            signal.signal(number, handler)


async def stop(used: Runtime) -> None:
    """Shut a runtime down, and its thread if it has one."""
    if used.is_here:
        await used.shutdown()
        return
    await on_loop(used, used.shutdown())
    # Not earlier: a loop that was only just given to its thread may not run yet.
    thread = next(each for each in threading.enumerate() if runs(each, used))
    await on_loop(used, used.loop.shutdown_asyncgens())
    used.loop.call_soon_threadsafe(used.loop.stop)
    await asyncio.to_thread(thread.join, DEADLINE)
    assert not thread.is_alive()
    used.loop.close()


def runs(thread: threading.Thread, used: Runtime) -> bool:
    return thread.ident is not None and thread.ident == getattr(used.loop, "_thread_id", None)


async def on_loop(used: Runtime, work: Coroutine[Any, Any, T]) -> T:
    if used.is_here:
        return await asyncio.wait_for(work, DEADLINE)
    return await asyncio.wait_for(
        asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, used.loop)), DEADLINE
    )


def close_store() -> None:
    """The store forgets its connections when settings change, and there is no other public way."""
    setting_changed.send(sender=None, setting="MCP_SESSIONS", value=None, enter=False)


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking code of a test that uses the ORM, and leave no connection behind."""

    def run() -> T:
        try:
            return work()
        finally:
            connections.close_all()

    return await asyncio.wait_for(asyncio.to_thread(run), DEADLINE)


async def rows(alias: str = DEFAULT_DB_ALIAS) -> dict[str, int]:
    """How many rows each of the app's tables has."""
    return await in_thread(lambda: {m.__name__: m._default_manager.using(alias).count() for m in TABLES})


async def only_session(alias: str = DEFAULT_DB_ALIAS) -> Session:
    return await in_thread(lambda: Session.objects.using(alias).get())


async def eventually(condition: Callable[[], object], why: str = "it did not happen in time") -> None:
    """Wait until something is so that nothing tells us of."""
    deadline = asyncio.get_running_loop().time() + DEADLINE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, why
        await asyncio.sleep(0.005)


def eager(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **_: Any) -> asyncio.Task[Any]:
    """As asyncio.eager_task_factory of Python 3.12, for work that never waits: it is over at once."""
    try:
        work.send(None)
    except StopIteration:
        return asyncio.Task(asyncio.sleep(0), loop=loop)
    raise AssertionError("the work waits")
