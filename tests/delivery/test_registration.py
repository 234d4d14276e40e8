"""A worker whose beginning failed begins again with the next who needs it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.stores import get_store
from tests.sessions import Open

DEADLINE: Final = 30.0


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after the commit"])
async def test_whoever_comes_after_the_failure_is_served(
    new_session: Open, after_commit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the store knows the name by now, and the news of it did not arrive."""
    session = (await new_session()).record
    enlist = get_store().aenlist
    failures = [StoreUnavailable("It is away.")]

    async def failing(name: str) -> None:
        if after_commit or not failures:
            await enlist(name)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(get_store(), "aenlist", failing)
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(StoreUnavailable):
            await get_hub().connections.follow_new(session)
        follower = await get_hub().connections.follow_new(session)
    assert follower.stream.reader == get_hub().worker_name
    follower.detach()


async def test_a_beginning_that_failed_unasked_is_nobodys_error(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was declared lost registers anew at once, when the store may be unavailable."""
    session = (await new_session()).record
    first = await get_hub().connections.follow_new(session)
    enlist = get_store().aenlist
    failed = asyncio.Event()

    async def failing(name: str) -> Any:
        if not failed.is_set():
            failed.set()
            raise StoreUnavailable("It is away.")
        await enlist(name)

    monkeypatch.setattr(get_store(), "aenlist", failing)
    get_hub()._worker._was_lost(get_hub().worker_name)
    async with asyncio.timeout(DEADLINE):
        await failed.wait()
        beginning = get_hub()._worker._registration
        assert beginning is not None
        await asyncio.wait([beginning])
        follower = await get_hub().connections.follow_new(session)
    assert follower.stream.reader == get_hub().worker_name != first.stream.reader
    for each in (first, follower):
        each.detach()
