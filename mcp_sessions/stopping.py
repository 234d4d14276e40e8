"""How a process learns that its server stops, so that its streams and calls come to rest first."""

from __future__ import annotations

import functools
import inspect
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from mcp_sessions.delivery import get_hub
from mcp_sessions.runtime import Runtime


def drain_before_stopping(runtime: Runtime) -> None:
    """Drain before the server stops what it serves, or while it does.

    uvicorn waits for open connections, so it is told at once, and closes its socket meanwhile.
    Daphne, which has no lifespan, cuts everything off, so it is told afterwards. A second signal
    goes straight through.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _drain_at_shutdown(runtime, getattr(signal.getsignal(signal.SIGTERM), "__self__", None))
    for number in (signal.SIGTERM, signal.SIGINT):
        previous = signal.getsignal(number)

        def chained(signum: int, frame: FrameType | None, previous: Any = previous) -> None:
            tell = functools.partial(_tell, previous, signum, frame)
            # Nothing comes after the default action, so it comes last as well.
            is_patient = not runtime.draining and (not runtime.has_lifespan or previous is signal.SIG_DFL)
            runtime.draining = True
            runtime.loop.call_soon_threadsafe(_drain, runtime, tell if is_patient else None)
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
            _drain(runtime, None if runtime.has_lifespan else _nothing)
        await shutdown(*arguments, **options)
        if not runtime.has_lifespan and runtime.stopping is not None:
            await runtime.stopping

    server.shutdown = drain_and_shut_down


def _nothing() -> None:
    """The server knows that it stops."""


def _tell(previous: Any, signum: int, frame: FrameType | None) -> None:
    """Do what the signal did before."""
    if callable(previous):
        previous(signum, frame)
    elif previous is signal.SIG_DFL:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


def _drain(runtime: Runtime, then: Callable[[], Any] | None) -> None:
    async def drain() -> None:
        if then is None:
            await get_hub().drain()
        else:
            # Nobody will tell a server without a lifespan that it is over.
            await runtime.shutdown()
            then()

    # Not one of the runtime's tasks, which its shutdown ends.
    runtime.stopping = runtime.loop.create_task(drain())
