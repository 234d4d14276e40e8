"""What must not be split: a write, and the signals of it.

Django cancels a view whose client has left, and a project may cancel what it awaits. A store's write goes on
in its thread all the same, so whoever began it has to go on as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from mcp_sessions.runtime import Phase, Runtime, current

P = ParamSpec("P")
T = TypeVar("T")

STOP_SECONDS: Final = 5.0
"""How long a stopping process waits for what nobody awaits any more."""

logger = logging.getLogger("mcp_sessions.runtime")


def completed(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Have the coroutine go on to its end when whoever awaits it is cancelled; on the runtime's loop."""

    @wraps(work)
    async def complete(*args: P.args, **kwargs: P.kwargs) -> T:
        return await current().service(Completing).complete(work(*args, **kwargs))

    return complete


class Completing:
    """What is under way."""

    def __init__(self, runtime: Runtime) -> None:
        self._doing: set[asyncio.Task[Any]] = set()
        runtime.at_shutdown(Phase.DRAIN, self._stop)

    async def complete(self, work: Coroutine[Any, Any, T]) -> T:
        doing = asyncio.create_task(work)
        self._doing.add(doing)
        doing.add_done_callback(self._doing.discard)
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            doing.add_done_callback(_tell_failure)
            raise

    async def _stop(self) -> None:
        if self._doing:
            await asyncio.wait(list(self._doing), timeout=STOP_SECONDS)


def _tell_failure(task: asyncio.Task[Any]) -> None:
    """Nobody awaits it who would hear."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s failed after its request was cancelled", task.get_coro(), exc_info=error)
