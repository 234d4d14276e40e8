"""How a process learns that its server stops, so that its streams and calls come to rest first."""

from __future__ import annotations

import functools
import inspect
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from mcp_sessions.delivery import get_hub
from mcp_sessions.runtime import Runtime


def drain_before_stopping(runtime: Runtime) -> None:
    """Drain before the server stops what it serves, or while it does.

    uvicorn waits for open connections, so it gets the signal at once, and closes its socket meanwhile.
    A child of `uvicorn --workers` cannot: its parent keeps the socket open, and nobody would answer
    those who connect. So it gets the signal afterwards, and answers 503 until then. So is Daphne, which has
    no lifespan and cuts everything off. A second signal goes straight through, but for a child's SIGTERM:
    its parent sends one, and so do systemd and a terminal.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _drain_at_shutdown(runtime, getattr(signal.getsignal(signal.SIGTERM), "__self__", None))
    for number in (signal.SIGTERM, signal.SIGINT):
        previous = signal.getsignal(number)

        def chained(signum: int, frame: FrameType | None, previous: Any = previous) -> None:
            tell = functools.partial(_tell, previous, signum, frame)
            # Nothing comes after the default action, so it comes last as well.
            is_end = not runtime.has_lifespan or previous is signal.SIG_DFL
            is_child = runtime.has_lifespan and _is_child()
            is_first = not runtime.draining or (is_child and signum == signal.SIGTERM)
            is_patient = is_first and (is_end or is_child)
            runtime.draining = True
            work = runtime.shutdown if is_end and is_patient else _drain_hub
            runtime.loop.call_soon_threadsafe(_drain, runtime, work, tell if is_patient else _nothing)
            if not is_patient:
                tell()

        signal.signal(number, chained)


def _drain_at_shutdown(runtime: Runtime, server: Any) -> None:
    """Drain when the server shuts down without a signal: uvicorn does after its limit of requests.

    The signals' handler is a method of uvicorn's server, also in gunicorn's workers. Its shutdown()
    waits for every connection before it tells the application.
    """
    shutdown = getattr(server, "shutdown", None)
    if not inspect.iscoroutinefunction(shutdown):
        return

    @functools.wraps(shutdown)
    async def drain_and_shut_down(*arguments: Any, **options: Any) -> None:
        if not runtime.draining:
            runtime.draining = True
            # Nobody will tell a server without a lifespan that it is over.
            _drain(runtime, _drain_hub if runtime.has_lifespan else runtime.shutdown, _nothing)
        await shutdown(*arguments, **options)
        if not runtime.has_lifespan and runtime.stopping is not None:
            await runtime.stopping

    server.shutdown = drain_and_shut_down


def _nothing() -> None:
    """The server knows already that it stops."""


def _tell(previous: Any, signum: int, frame: FrameType | None) -> None:
    """Do what the signal did before."""
    if callable(previous):
        previous(signum, frame)
    elif previous is signal.SIG_DFL:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


async def _drain_hub() -> None:
    """All but what is done when the server tells the application that it is over."""
    await get_hub().drain()


def _drain(runtime: Runtime, work: Callable[[], Coroutine[Any, Any, None]], then: Callable[[], None]) -> None:
    async def drain() -> None:
        await work()
        then()

    # Not one of the runtime's tasks, which its shutdown ends.
    runtime.stopping = runtime.loop.create_task(drain())


def _is_child() -> bool:
    """Whether multiprocessing started this process, as `uvicorn --workers` does, with a socket it shares."""
    return multiprocessing.parent_process() is not None
