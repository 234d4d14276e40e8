"""Calls receivers of signals one after the other: one that raises or hangs stops no other.

Plain receivers have a thread. Nobody can stop one that hangs in it: so the others get a new thread, and it
is not called again before it has returned.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Hashable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from inspect import iscoroutinefunction
from queue import SimpleQueue
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections
from django.dispatch import Signal

from mcp_sessions.isolation import isolated
from mcp_sessions.logs import NONE, Failures, about, context_of
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import Phase, Runtime, current

Receiver = Callable[..., Any]

HANG_SECONDS: Final = 30.0
"""How long the others wait for a receiver."""

logger = logging.getLogger("mcp_sessions.signals")


async def deliver(signal: Signal, session: SessionRecord | None, arguments: dict[str, Any]) -> None:
    """Call every receiver of the signal."""
    receivers = current().service(Receivers)
    for receiver in receivers_of(signal):
        work = partial(receiver, signal=signal, sender=SessionRecord, **arguments)
        await receivers.call(receiver, work, session)


def receivers_of(signal: Signal) -> Iterator[Receiver]:
    """Plain ones first, as Django calls them."""
    # Django's own sending gives one thread to all of them, so that one that hangs would stop the others.
    for some in signal._live_receivers(SessionRecord):
        yield from some


class Receivers:
    """Those of this process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._thread = DaemonThread()
        self._hanging: dict[Hashable, Hanging] = {}
        self._failures = Failures(logger)
        runtime.at_shutdown(Phase.RELEASE, self._close)

    async def call(self, receiver: object, work: Callable[[], Any], session: SessionRecord | None) -> None:
        """Do the receiver's work; what it raises is logged."""
        if (hanging := self._hanging.get(identity_of(receiver))) is not None:
            hanging.missed += 1
            return
        is_plain = not iscoroutinefunction(receiver)
        calling = _in_thread(self._thread, work) if is_plain else _awaited(work)
        doing = self._runtime.spawn(self._tried(receiver, calling, session), "receiver", context_of(session))
        await asyncio.wait({doing}, timeout=HANG_SECONDS)
        if not doing.done():
            self._give_up(receiver, doing, is_plain=is_plain)

    async def _tried(self, receiver: object, calling: Awaitable[None], session: SessionRecord | None) -> None:
        try:
            await isolated(calling)
        except Exception as error:
            key = session.key if session else NONE
            self._failures.add(name_of(receiver), error, f"session {key}", about(key))

    def _give_up(self, receiver: object, doing: asyncio.Task[None], *, is_plain: bool) -> None:
        name = name_of(receiver)
        logger.error(
            "receiver %s has not returned for %s s, and is skipped until it does", name, HANG_SECONDS
        )
        self._hanging[identity_of(receiver)] = Hanging(receiver)
        doing.add_done_callback(partial(self._returned, receiver))
        if is_plain:
            self._thread.shutdown(wait=False)
            self._thread = DaemonThread()

    def _returned(self, receiver: object, doing: asyncio.Task[None]) -> None:
        missed = self._hanging.pop(identity_of(receiver)).missed
        if not self._runtime.is_over:
            logger.error("receiver %s has returned; it missed %d signals", name_of(receiver), missed)

    async def _close(self) -> None:
        for each in self._hanging.values():
            text = "receiver %s has not returned; it missed %d signals"
            logger.error(text, name_of(each.receiver), each.missed)
        self._thread.shutdown()


class Hanging:
    """A receiver that has not returned."""

    def __init__(self, receiver: object) -> None:
        self.receiver = receiver
        self.missed = 0


class DaemonThread(Executor):
    """One thread that keeps its database connections, and does not keep the process from its end."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._is_started = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self._is_started:
            self._is_started = True
            threading.Thread(target=self._run, name="mcp-receivers", daemon=True).start()
        future: Future[Any] = Future()
        self._work.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Nobody waits for it."""
        self._work.put(None)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            future, work = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)
        connections.close_all()


def identity_of(receiver: object) -> Hashable:
    """Of a method that of its parts: it is another object each time it is asked for."""
    function = getattr(receiver, "__func__", None)
    return id(receiver) if function is None else (id(getattr(receiver, "__self__", None)), id(function))


def name_of(receiver: object) -> str:
    return getattr(receiver, "__qualname__", None) or repr(receiver)


async def _in_thread(thread: Any, work: Callable[[], Any]) -> None:
    await sync_to_async(_with_connections, thread_sensitive=False, executor=thread)(work)


def _with_connections(work: Callable[[], Any]) -> None:
    # Nobody else looks after the connections of this thread.
    close_old_connections()
    try:
        work()
    finally:
        close_old_connections()


async def _awaited(work: Callable[[], Awaitable[Any]]) -> None:
    # Its queries run in a thread that is shared, and that nobody looks after either.
    await sync_to_async(close_old_connections)()
    try:
        await work()
    finally:
        await sync_to_async(close_old_connections)()
