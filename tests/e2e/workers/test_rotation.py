"""A session is given another id by one process, and its client's stream is another's."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.e2e.test_guide_dialect import PING, guide_session
from tests.e2e.workers.conftest import Workers, every_mode
from tests.e2e.workers.test_dialects import posted
from tests.harness.running import run
from tests.harness.wire import request


@every_mode
def test_the_worker_that_has_the_stream_sends_the_new_id(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        async with guide_session(here) as guide:
            rotating = asyncio.to_thread(there.manage, "rotate_mcp_session", guide.session_id)
            command = asyncio.create_task(rotating)
            events = [await guide.response.next_event() for _ in range(3)]
            printed = await command
            assert [event.event for event in events] == ["session-rotated", "session", "endpoint"]
            new = events[0].json()["session_id"]
            assert new not in str(printed)
            # Either worker serves both ids, until the grace is over.
            for session_id in (guide.session_id, new):
                for worker in workers:
                    await posted(replace(guide, url=worker.url, session_id=session_id), PING)
            # And either takes the browser that comes back with what it was sent last.
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(events[-1].id)}
            async with request("GET", there.url, headers) as response:
                resumed = await response.next_event()
                assert (resumed.event, resumed.json()["session_id"]) == ("session-resumed", new)

    run(scenario())
