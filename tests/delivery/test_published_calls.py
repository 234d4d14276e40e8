"""Which calls run here is stored for the other processes, and deleted when they are over."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from mcp_sessions.delivery import get_hub
from mcp_sessions.stores import get_store
from tests.sessions import Open

DEADLINE: Final = 60.0


class Call:
    counts = True

    def cancel(self, message: str, reason: str) -> None: ...

    def give_up(self) -> None: ...


async def test_a_call_that_is_over_soon_does_not_stay_published(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the store takes to add it: it would stay for a day if it were dropped before."""
    session, calls, call = (await new_session()).record, get_hub().calls, Call()
    is_answered, is_dropped, steps = asyncio.Event(), asyncio.Event(), list[str]()

    async def add(*args: Any) -> bool:
        await is_answered.wait()
        steps.append("added")
        return True

    async def drop(*args: Any) -> None:
        steps.append("dropped")
        is_dropped.set()

    monkeypatch.setattr(get_store(), "aadd_request", add)
    monkeypatch.setattr(get_store(), "adrop_request", drop)
    calls.register(session, 1, call)
    calls.publish(session, [1])
    calls.unregister(session, 1, call)
    for _ in range(10):
        await asyncio.sleep(0)
    is_answered.set()
    async with asyncio.timeout(DEADLINE):
        await is_dropped.wait()
    assert steps == ["added", "dropped"]
