"""How long sessions live when one worker has what is open, and the other is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from tests.e2e.test_guide_dialect import GuideStream, guide_session
from tests.e2e.workers.conftest import Workers, both_at
from tests.e2e.workers.endpoints import BRIEF_SECONDS
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import messages, next_message, next_named, rest, text_of
from tests.e2e.workers.test_endings import assert_ended, assert_gone, status_of_ping
from tests.harness.running import run
from tests.harness.wire import RawSession


@asynccontextmanager
async def used(guides: Sequence[GuideStream]) -> AsyncIterator[None]:
    """These are asked all the while."""

    async def ask() -> None:
        while True:
            for guide in guides:
                await status_of_ping(guide)
            await asyncio.sleep(0.2)

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


def test_no_use_at_any_worker_takes_a_session_past_its_lifetime(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        here, there = both_at("/mortal", workers)
        session, gate = await RawSession.open(here.url), gates.new()
        steps = session.tool_call("steps", {"gates": [gate]}, token="t")
        async with session.get() as standing, session.post(steps) as running, guide_session(here) as guide:
            await next_message(running)
            async with used([replace(guide, url=there.url)]):
                assert (await next_named(guide.response)).json()["reason"] == "expired"
            assert datetime.now(UTC) >= guide.expires_at
            assert await rest(guide.response) == []
            assert messages(await rest(standing)) == []
            assert_ended(messages(await rest(running))[-1], steps["id"])
        await assert_gone(session, both_at("/mortal", workers))

    run(scenario())


EXTEND: Final = "from mcp_sessions.lifecycle import extend_session; extend_session({key!r}, 600)"


def test_an_extension_by_hand_is_known_to_both_workers(workers: Workers) -> None:
    """Given by a process that serves nobody, to a session that one of them watches."""

    async def scenario() -> None:
        here, there = both_at("/brief", workers)
        async with guide_session(here) as guide:
            elsewhere = replace(guide, url=there.url)
            key = text_of(await elsewhere.call("session_key", {}))
            async with used([elsewhere]):
                await asyncio.to_thread(there.manage, "shell", "-v0", "-c", EXTEND.format(key=key))
            await asyncio.sleep(1.25 * BRIEF_SECONDS)
            for at in (guide, elsewhere):
                assert await status_of_ping(at) == 200
            await elsewhere.call("announce", {"event": "still-here", "text": "yes"})
            assert (await next_named(guide.response)).event == "still-here"

    run(scenario())
