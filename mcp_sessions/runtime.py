"""The process's runtime: one event loop, and what must outlive a request on it.

Under ASGI the mount adopts the server's loop. Elsewhere (WSGI, tests, commands, Celery) a
daemon thread runs a loop of its own, started at the first use and again after a fork. Calls,
followers, the writer and the server objects' lifespans live there, whichever loop or thread a
request came in on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from enum import IntEnum
from functools import wraps
from operator import itemgetter
from typing import Any, Final, ParamSpec, TypeVar

from mcp_sessions.exchange import Chunks
from mcp_sessions.logs import context_of

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("mcp_sessions.runtime")

STOP_SECONDS: Final = 2.0
"""How long a stopping process waits for tasks that were cancelled and do not stop."""

STOPPED: Final = "The process stops, and this was not finished."
ASYNC_VARIANT: Final = "Await its async variant, whose name begins with a."

_lock = threading.Lock()
_current: Runtime | None = None


class Phase(IntEnum):
    """The order in which a process comes to rest."""

    DRAIN = 1
    """Calls finish, streams close."""
    WRITE = 2
    """What they left to be written is written."""
    TELL = 3
    """Signals of it are sent."""
    RELEASE = 4
    """What they needed is given back."""


class Runtime:
    """One loop with its services, background tasks and held context managers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.is_started = False
        self.has_lifespan = False
        self.draining = False
        self.is_over = False
        self.is_gone = False
        self.stopping: asyncio.Task[None] | None = None
        self._services: dict[Callable[[Runtime], Any], Any] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._keepers: list[tuple[asyncio.Task[None], asyncio.Event]] = []
        self._closers: list[tuple[Phase, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._asked: set[Future[Any]] = set()
        self._drain_listeners: list[Callable[[], None]] = []
        self.at_shutdown(Phase.RELEASE, self._answer_others)

    @property
    def is_usable(self) -> bool:
        return not self.loop.is_closed()

    @property
    def is_here(self) -> bool:
        """Whether the calling code runs on this runtime's loop."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def service(self, factory: Callable[[Runtime], T]) -> T:
        """The runtime's one instance of `factory`, made at the first call."""
        if factory not in self._services:
            self._services[factory] = factory(self)
        found: T = self._services[factory]
        return found

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `work` here for another thread. Whoever waits for it is not left waiting at shutdown."""
        was_gone = self.is_gone
        if was_gone:
            # The loop may still run, and would be quicker than a cancellation.
            work.close()
            late: Future[T] = Future()
            late.cancel()
            return late
        asked = asyncio.run_coroutine_threadsafe(work, self.loop)
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        if self.is_gone:
            asked.cancel()
        return asked

    def spawn(
        self, work: Coroutine[Any, Any, T], name: str, context: Context | None = None
    ) -> asyncio.Task[T]:
        """Run `work` as a task of the process, not of whoever asked; must be called on the loop.

        Without a context, in this one, but for no session: see logs. The task begins after this returns:
        its caller keeps it first.
        """
        own = context_of(None) if context is None else context
        # Not loop.create_task(): with asyncio.eager_task_factory (Python 3.12) that runs `work` at once.
        task = asyncio.Task(work, loop=self.loop, name=f"mcp_sessions:{name}", context=own)
        self._tasks.add(task)
        task.add_done_callback(self._finished, context=own)
        return task

    async def hold(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter `manager` in a task of its own and leave it at shutdown; what it yielded.

        Cancel scopes must be left by the task that entered them, hence the task.
        """
        entered: asyncio.Future[T] = self.loop.create_future()
        leave = asyncio.Event()

        async def keep() -> None:
            try:
                async with manager as value:
                    entered.set_result(value)
                    await leave.wait()
            except BaseException as error:
                if entered.done():
                    raise
                entered.set_exception(error)

        self._keepers.append((self.loop.create_task(keep()), leave))
        return await entered

    def at_shutdown(self, phase: Phase, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have `closer` awaited when the process stops."""
        self._closers.append((phase, closer))

    def at_drain(self, listener: Callable[[], None]) -> None:
        """Have `listener` called when the process begins to stop, before its streams are closed."""
        if self.draining:
            listener()
        else:
            self._drain_listeners.append(listener)

    def begin_drain(self) -> None:
        """Nothing new is begun from now on."""
        self.draining = True
        listeners, self._drain_listeners = self._drain_listeners, []
        for listener in listeners:
            listener()

    async def shutdown(self) -> None:
        """End tasks, then leave what is held. The runtime is not used afterwards."""
        self.begin_drain()
        for _, closer in sorted(self._closers, key=itemgetter(0)):
            await self._close(closer)
        # What a timer still wakes begins nothing any more.
        self.is_over = True
        await self._cancel_tasks()
        for keeper, leave in reversed(self._keepers):
            leave.set()
            (outcome,) = await asyncio.gather(keeper, return_exceptions=True)
            if isinstance(outcome, BaseException):
                logger.error("leaving a server's lifespan failed", exc_info=outcome)
        forget(self)
        # From here on nobody is sure that the loop runs.
        self.is_gone = True
        for asked in list(self._asked):
            asked.cancel()

    async def _answer_others(self) -> None:
        """What other threads have asked needs what is about to be released."""
        if waiting := {asyncio.wrap_future(asked) for asked in list(self._asked)}:
            await asyncio.wait(waiting, timeout=STOP_SECONDS)

    async def _cancel_tasks(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if not self._tasks:
            return
        _, going_on = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        for task in going_on:
            logger.error("stopping, and the cancelled task %s still runs", task.get_name())

    async def _close(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await closer()
        except Exception:
            # What one service could not finish must not keep the others from it.
            logger.exception("%s failed while the process stops", closer)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("background task %s failed", task.get_name(), exc_info=error)


def current() -> Runtime:
    """The process's runtime; a loop in a daemon thread if nobody adopted one."""
    global _current
    if (found := peek()) is not None:
        return found
    with _lock:
        if _current is None or not _current.is_usable:
            _current = Runtime(_start_loop())
        return _current


def peek() -> Runtime | None:
    """The process's runtime if there is one, without making it."""
    found = _current
    return found if found is not None and found.is_usable else None


def adopt() -> Runtime:
    """Make the running loop the process's runtime, if it is not yet."""
    global _current
    running = asyncio.get_running_loop()
    with _lock:
        if _current is None or not _current.is_usable or _current.loop is not running:
            _current = Runtime(running)
        return _current


def forget(runtime: Runtime) -> None:
    global _current
    with _lock:
        if _current is runtime:
            _current = None


async def run(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` on the runtime's loop, from whichever loop is running."""
    runtime = current()
    if runtime.is_here:
        return await work
    asked = runtime.submit(work)
    try:
        return await asyncio.wrap_future(asked)
    except asyncio.CancelledError:
        if runtime.is_gone and asked.cancelled():
            raise RuntimeError(STOPPED) from None
        raise


def on_runtime(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Have the coroutine run on the runtime's loop, wherever it is awaited."""

    @wraps(work)
    async def run_there(*args: P.args, **kwargs: P.kwargs) -> T:
        return await run(work(*args, **kwargs))

    return run_there


def run_sync(work: Coroutine[Any, Any, T], instead: str = ASYNC_VARIANT) -> T:
    """Run `work` on the runtime's loop from synchronous code and wait for it.

    Raises RuntimeError on that loop, and says what to do `instead`.
    """
    try:
        check_blockable(instead)
    except RuntimeError:
        work.close()
        raise
    try:
        return submit(work).result()
    except CancelledError:
        raise RuntimeError(STOPPED) from None


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run `work` on the runtime's loop, from any thread."""
    return current().submit(work)


def check_blockable(instead: str = ASYNC_VARIANT) -> None:
    """Raise RuntimeError where the calling code runs on the runtime's loop, which it would wait for."""
    if current().is_here:
        raise RuntimeError(f"This synchronous function would block the event loop it waits for. {instead}")


def stop() -> None:
    """Shut the process's runtime down, if it has a thread of its own; from synchronous code."""
    if (found := peek()) is not None and not found.is_here and found.loop.is_running():
        asyncio.run_coroutine_threadsafe(found.shutdown(), found.loop).result()


class Iterated:
    """The same chunks, with every step taken on the runtime's loop."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks

    def __aiter__(self) -> Iterated:
        return self

    async def __anext__(self) -> bytes:
        return await run(self._step())

    async def aclose(self) -> None:
        await run(self._chunks.aclose())

    def close(self) -> None:
        """What Django calls in the end, in any thread, also if it never came to the first chunk."""
        if (runtime := peek()) is not None:
            runtime.submit(self._chunks.aclose())

    async def _step(self) -> bytes:
        return await anext(self._chunks)


def _forget_all() -> None:
    """A fork leaves the child without the thread or the loop that its parent had."""
    global _current, _lock
    _current, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows has none, and does not fork.
    os.register_at_fork(after_in_child=_forget_all)


def _start_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="mcp-runtime", daemon=True).start()
    return loop
