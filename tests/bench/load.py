"""A few clients that call a tool at an even pace, and what each call took."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from tests.harness.wire import RawSession

CLIENTS: Final = 8
CALLS_PER_SECOND: Final = 40
"""Taken together: so few that one server has time for all. What they wait for is something else."""
PACE: Final = CLIENTS / CALLS_PER_SECOND
CALLS: Final = 10
"""In each session, before the client ends it and opens the next: that writes."""


async def load(url: str, is_over: asyncio.Event) -> list[float]:
    """How many seconds each call took, until the event is set; each client calls once in any case."""
    felt: list[float] = []
    async with asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            clients.create_task(_call(url, number, felt, is_over))
    return felt


async def _call(url: str, number: int, felt: list[float], is_over: asyncio.Event) -> None:
    session, due, calls = await RawSession.open(url), time.perf_counter() + PACE * number / CLIENTS, 0
    while True:
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        began, text = time.perf_counter(), f"{number} {calls}"
        result = (await session.call("echo", {"text": text}))["result"]
        assert result["content"][0]["text"] == text, result
        felt.append(time.perf_counter() - began)
        if is_over.is_set():
            return
        due, calls = due + PACE, calls + 1
        if calls % CALLS == 0:
            await session.delete()
            session = await RawSession.open(url)


def percentile(felt: list[float], percent: int) -> float:
    return sorted(felt)[percent * (len(felt) - 1) // 100]
