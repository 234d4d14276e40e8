"""Code of the project and of server libraries, awaited so that it can end nothing but itself.

Some exceptions mean more to asyncio than an error: SystemExit and KeyboardInterrupt stop the loop, and
CancelledError ends its task without a word. A tool may raise them all, for instance by awaiting a task
that somebody else has cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def isolated(work: Awaitable[T]) -> T:
    """The result of `work`. Raises RuntimeError for what is no Exception, unless this task was cancelled."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        return await work
    except Exception:
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > before:
            raise
        raise as_exception(error) from error


def as_exception(error: BaseException) -> RuntimeError:
    """What is raised in the place of something that is no Exception."""
    return RuntimeError(f"{type(error).__name__} was raised where an Exception is expected")
