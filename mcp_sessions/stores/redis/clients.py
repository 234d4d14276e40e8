"""The store's connections to Redis: one pool for plain methods, and one for each event loop."""

from __future__ import annotations

import asyncio
import builtins
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import redis
import redis.asyncio
from redis.exceptions import ConnectionError, RedisError, TimeoutError

from mcp_sessions.stores.redis.commands import Command, Steps
from mcp_sessions.stores.redis.options import RedisSettings

P = ParamSpec("P")
R = TypeVar("R")

CLOSE_SECONDS: Final = 5.0
"""How long a loop in another thread may take to close its connections."""


class Clients:
    """Those of one process."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._blocking = redis.Redis(connection_pool=settings.blocking_pool())
        self._of_loops: dict[asyncio.AbstractEventLoop, LoopClient] = {}

    def run(self, steps: Steps[R]) -> R:
        try:
            command = next(steps)
            while True:
                try:
                    answer = self._blocking.execute_command(*command)  # type: ignore[no-untyped-call]
                except RedisError as error:
                    command = steps.throw(error)
                else:
                    command = steps.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def arun(self, steps: Steps[R]) -> R:
        client = await self._of_this_loop()
        try:
            command = next(steps)
            while True:
                try:
                    answer = await self._answer(client, command)
                except RedisError as error:
                    command = steps.throw(error)
                else:
                    command = steps.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    async def _answer(self, client: redis.asyncio.Redis, command: Command) -> Any:
        """The library's own timeout waits for a task to write, and may lose a cancellation doing so."""
        seconds = self._settings.answer_seconds
        try:
            async with asyncio.timeout(seconds):
                return await client.execute_command(*command)  # type: ignore[no-untyped-call]
        except builtins.TimeoutError:
            raise TimeoutError(f"no answer within {seconds:g} seconds") from None
        except RuntimeError as error:
            # That is how uvloop says that the other end has closed the connection.
            raise ConnectionError(str(error)) from error

    async def _of_this_loop(self) -> redis.asyncio.Redis:
        loop = asyncio.get_running_loop()
        held = self._of_loops.get(loop)
        if held is None:
            self._forget_closed()
            forget = partial(self._of_loops.pop, loop, None)
            held = self._of_loops[loop] = LoopClient(self._settings, forget)
            await anext(held.life)
        return held.client

    def _forget_closed(self) -> None:
        """Loops that were closed without being asked whether they had something to close."""
        for loop in [each for each in self._of_loops if each.is_closed()]:
            self._of_loops.pop(loop, None)

    def close(self) -> None:
        for loop, held in list(self._of_loops.items()):
            held.close(loop)
        self._of_loops.clear()
        self._blocking.connection_pool.disconnect()


class LoopClient:
    """The connections of one event loop, which end with it."""

    def __init__(self, settings: RedisSettings, on_end: Callable[[], object]) -> None:
        self._on_end = on_end
        self._pool = settings.async_pool()
        self.client = redis.asyncio.Redis(connection_pool=self._pool)
        # A loop closes the asynchronous generators that were begun in it before it is closed itself.
        self.life = self._live()

    async def _live(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._on_end()
            await self._pool.disconnect()

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """From whichever thread: what can still be waited for is."""
        here = _running_loop()
        if loop.is_running() and loop is not here:
            closing = asyncio.run_coroutine_threadsafe(self._pool.disconnect(), loop)
            with suppress(builtins.TimeoutError):
                closing.result(CLOSE_SECONDS)
        elif loop is here:
            # Nobody can wait here. At the latest the loop's end waits for it.
            self._closing = loop.create_task(self._pool.disconnect())
        elif here is None and not loop.is_closed():
            loop.run_until_complete(self.life.aclose())


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Connected:
    """`run`, `arun` and `close` of the store."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._clients: dict[int, Clients] = {}

    def _own_clients(self) -> Clients:
        """This process's: a fork must not share sockets. Needs no lock to survive one."""
        pid = os.getpid()
        return self._clients.get(pid) or self._clients.setdefault(pid, Clients(self._settings))

    def run(self, steps: Steps[R]) -> R:
        return self._own_clients().run(steps)

    async def arun(self, method: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """A method of the store runs on the loop itself; anything else that blocks gets a thread."""
        steps: Callable[..., Steps[R]] | None = getattr(method, "steps", None)
        if steps is None:
            return await asyncio.to_thread(method, *args, **kwargs)
        return await self._own_clients().arun(steps(self, *args, **kwargs))

    def close(self) -> None:
        clients = self._clients.pop(os.getpid(), None)
        if clients is not None:
            clients.close()
