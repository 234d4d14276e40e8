"""A server process keeps its store clean by itself, where neither beat nor cron does."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import pytest
from django.utils import timezone

from mcp_sessions import runtime
from mcp_sessions.identifiers import new_stream_name, new_worker_name
from mcp_sessions.lifecycle import aend_session, open_session
from mcp_sessions.models import Notification, Session, Worker
from mcp_sessions.records import SessionRecord
from mcp_sessions.signals import session_expired
from mcp_sessions.stores import get_store
from mcp_sessions.stores.database import DatabaseSessionStore
from tests.process import eventually, in_thread
from tests.servers import DEADLINE
from tests.sessions import Open

MEMORY: Final = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}

Configure = Callable[..., None]
Looks = Callable[[], list[int]]


@pytest.fixture
def configure(settings: Any) -> Configure:
    def change(**options: Any) -> None:
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_CLEANUP_INTERVAL": 0.02, **options}

    return change


@pytest.fixture
def looks(caplog: pytest.LogCaptureFixture) -> Iterator[Looks]:
    """How many sessions were found to be over, at each look."""
    with caplog.at_level(logging.DEBUG, "mcp_sessions.lifecycle"):
        yield lambda: [int(found) for found in re.findall(r"(\d+) sessions are over", caplog.text)]


async def run_out(*keys: str) -> None:
    at = timezone.now()
    await in_thread(lambda: Session.objects.filter(key__in=keys).update(expires_at=at, timeout_at=at))


async def rows() -> set[str]:
    return await in_thread(lambda: set(Session.objects.values_list("key", flat=True)))


async def become(keys: set[str]) -> None:
    """Wait until these sessions are left."""
    deadline = timezone.now().timestamp() + DEADLINE
    while await rows() != keys:
        assert timezone.now().timestamp() < deadline, await rows()


async def test_past_the_threshold_what_is_over_is_purged(
    configure: Configure, new_session: Open, looks: Looks
) -> None:
    configure(SESSION_GC_THRESHOLD=2, PURGE_BATCH=1)
    live, *over = [(await new_session()).key for _ in range(4)]
    await run_out(*over[:2])
    await eventually(lambda: looks().count(2) >= 2)
    assert await rows() == {live, *over}
    await run_out(*over)
    await become({live})


async def test_without_a_threshold_it_never_is(configure: Configure, new_session: Open, looks: Looks) -> None:
    configure(SESSION_GC_THRESHOLD=None)
    over = (await new_session()).key
    await run_out(over)
    await eventually(lambda: looks().count(1) >= 2)
    assert await rows() == {over}


async def test_what_is_kept_for_a_while_does_not_count(
    configure: Configure, new_session: Open, looks: Looks
) -> None:
    configure(SESSION_GC_THRESHOLD=5, KEEP_ENDED_SECONDS=86400)
    await aend_session((await new_session()).key)
    looked = len(looks())
    # One look may have been under way.
    await eventually(lambda: len(looks()) >= looked + 3)
    assert set(looks()[looked + 1 :]) == {0}


async def test_old_news_go_although_nobody_waits_for_any(
    configure: Configure, new_session: Open, looks: Looks
) -> None:
    configure(SESSION_GC_THRESHOLD=1000)
    await aend_session((await new_session()).key)
    long_ago = timezone.now() - timedelta(hours=1)
    await in_thread(lambda: Notification.objects.update(created_at=long_ago))
    async with asyncio.timeout(DEADLINE):
        while await in_thread(Notification.objects.count):
            await asyncio.sleep(0.01)


async def test_what_nobody_else_reaches_is_purged_at_every_look(
    configure: Configure, process: None, settings: Any
) -> None:
    configure(SESSION_GC_THRESHOLD=None, SESSION_STORE=MEMORY, SESSION_ROWS=False, SESSION_TIMEOUT=0.05)
    runtime.adopt()
    _, session = await open_session("/mcp", "", {})
    await eventually(lambda: get_store().load_by_key(session.key) is None)


class Deliberate(DatabaseSessionStore):
    """A store that takes its time to say which sessions it has ended."""

    has_ended = threading.Event()
    may_answer = threading.Event()

    def expire(self, *which: Any) -> Sequence[SessionRecord]:
        ended = super().expire(*which)
        if ended:
            self.has_ended.set()
            assert self.may_answer.wait(DEADLINE)
        return ended


async def test_a_stopping_process_tells_of_the_batch_that_it_is_at_and_begins_no_other(
    configure: Configure, new_session: Open
) -> None:
    store = {"BACKEND": f"{__name__}.Deliberate"}
    configure(SESSION_GC_THRESHOLD=1, PURGE_BATCH=2, SESSION_STORE=store)
    told: list[str] = []

    def hear(session: SessionRecord, **_: Any) -> None:
        told.append(session.key)

    used = runtime.current()
    session_expired.connect(hear)
    try:
        await run_out(*[(await new_session()).key for _ in range(6)])
        await eventually(Deliberate.has_ended.is_set)
        stopping = asyncio.create_task(used.shutdown())
        await eventually(lambda: used.draining)
        Deliberate.may_answer.set()
        await stopping
    finally:
        Deliberate.may_answer.set()
        session_expired.disconnect(hear)
    ended = await in_thread(lambda: set(Session.objects.exclude(ended_at=None).values_list("key", flat=True)))
    assert set(told) == ended
    assert len(told) == len(ended) == 2


async def test_what_a_dead_worker_has_left_is_ended_by_one_that_serves_no_stream(
    configure: Configure, new_session: Open
) -> None:
    """All workers were killed, and none of those that came after has opened a stream."""
    configure(WORKER_TIMEOUT=0.3)
    session, dead, reply = (await new_session()).key, new_worker_name(), new_stream_name()
    await get_store().aenlist(dead)
    await get_store().aopen_stream(session, reply, "post", dead, [7])

    async def is_forgotten() -> bool:
        known = Worker.objects.filter(is_forgotten=False)
        workers = await in_thread(lambda: set(known.values_list("name", flat=True)))
        return dead not in workers and (await get_store().afind_streams([reply]))[reply].ended_at is not None

    deadline = timezone.now().timestamp() + DEADLINE
    while not await is_forgotten():
        assert timezone.now().timestamp() < deadline
    reading = await get_store().aread(reply, 0, 10)
    assert reading is not None
    (event,) = reading.events
    message = json.loads(event.data)
    assert (message["id"], message["error"]["data"]) == (7, {"reason": "worker_lost"})
