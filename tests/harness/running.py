"""Tests are plain functions; what they await runs here, with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

DEADLINE: Final = 180.0
BROWSER_DEADLINE: Final = 120_000.0
"""Milliseconds, for one thing that a browser does; its own 30 s pass by on a machine that is busy."""
POLL_SECONDS: Final = 0.02

T = TypeVar("T")


def run(scenario: Coroutine[Any, Any, T], deadline: float = DEADLINE) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(deadline):
            return await scenario

    return asyncio.run(bounded())


async def eventually(condition: Callable[[], bool], deadline: float = 60.0) -> None:
    """Wait for something that shows in no event of its own."""
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(POLL_SECONDS)
