"""What a process asks of the store while nothing happens."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any, Final

import pytest
from django.conf import settings
from django.db import connections
from django.utils import timezone

from mcp_sessions import jsonrpc
from mcp_sessions.delivery import get_hub
from mcp_sessions.delivery.changes import Changes
from mcp_sessions.models import Session, Stream
from mcp_sessions.records import Inbound, SessionRecord, StreamRecord
from mcp_sessions.stores import get_store
from tests.process import eventually, in_thread
from tests.sessions import Open

POLLS: Final = 20
DEADLINE: Final = 30.0
GAP_SECONDS: Final = 0.1
LONG_SECONDS: Final = 1.0


class QuietCall:
    """A call that says nothing."""

    counts = True

    def cancel(self, message: str, reason: str) -> None:
        raise AssertionError(message)

    def give_up(self) -> None:
        """It was never cancelled."""


QUIET: Final = QuietCall()


class Cancelled:
    """A call that knows whether it was cancelled."""

    counts = True

    def __init__(self) -> None:
        self.is_cancelled = asyncio.Event()

    def cancel(self, message: str, reason: str) -> None:
        self.is_cancelled.set()

    def give_up(self) -> None:
        """It has stopped."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.MCP_SESSIONS, "POLL_SECONDS", 0.01)
    monkeypatch.setitem(settings.MCP_SESSIONS, "HEARTBEAT_SECONDS", 3600)


async def open_idle(session: SessionRecord, count: int) -> None:
    """Streams of the session, each read by a client to whom nothing is sent."""
    rows = [
        Stream(name=f"idle-{n}", session_id=0, kind="get", created_at=timezone.now(), reader="me")
        for n in range(count)
    ]

    def create() -> None:
        pk = Session.objects.get(key=session.key).pk
        for row in rows:
            row.session_id = pk
        Stream.objects.bulk_create(rows, batch_size=500)

    await in_thread(create)
    for row in rows:
        get_hub().connections.follow(StreamRecord(row.name, session.key, "get", reader="me"), 0, session)


@pytest.mark.parametrize("idle", [0, 100, 5000])
async def test_one_query_tells_whatever_is_open(
    new_session: Open, idle: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await new_session()).record
    asked: Counter[str] = Counter()
    heard: list[Any] = []
    enough = asyncio.Event()
    arun = get_store().arun

    async def counted(verb: Any, /, *arguments: Any, **named: Any) -> Any:
        asked["written_by" if named.get("writers") else verb.__name__] += 1
        result = await arun(verb, *arguments, **named)
        if verb.__name__ == "changes":
            heard.extend(result)
            if asked["changes"] >= POLLS:
                enough.set()
        return result

    monkeypatch.setattr(get_store(), "arun", counted)
    get_hub().calls.register(session, 1, QUIET)  # something waits for news
    await open_idle(session, idle)
    async with asyncio.timeout(DEADLINE):
        await enough.wait()
    get_hub().calls.unregister(session, 1, QUIET)
    for follower in get_hub().connections:
        follower.detach()
    # Everything that is open is compared with the store once per heartbeat, and this was one.
    once = {"now", "last_change", "find_streams", "written_by", "trim", "delete_unreachable"}
    assert {verb for verb, count in asked.items() if count > 1} <= {"changes"}
    assert set(asked) <= {"changes", *once}
    assert heard == []


async def test_nothing_is_asked_while_nobody_waits(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await new_session()).record
    asked: list[str] = []
    arun = get_store().arun

    async def counted(verb: Any, /, *arguments: Any, **named: Any) -> Any:
        asked.append(verb.__name__)
        return await arun(verb, *arguments, **named)

    monkeypatch.setattr(get_store(), "arun", counted)
    hub, polls = get_hub(), 0

    def is_waiting(_: Changes) -> bool:
        nonlocal polls
        polls += 1
        return bool(hub.connections or hub.calls)

    monkeypatch.setattr(Changes, "is_waiting", property(is_waiting))
    hub.calls.register(session, 1, QUIET)
    hub.calls.unregister(session, 1, QUIET)
    await eventually(lambda: polls >= POLLS)
    assert asked == []


def cancel_elsewhere(session: SessionRecord, request_id: int) -> None:
    """As another process does it, from which nothing is heard here but through the store."""

    def post() -> None:
        get_store().append(
            [Inbound(session.key, jsonrpc.encode({"cancel": {"request_id": request_id, "reason": ""}}))]
        )
        connections.close_all()

    thread = threading.Thread(target=post)
    thread.start()
    thread.join()


async def test_who_was_held_up_finds_what_was_rung_for_meanwhile(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that got no turn for longer than news are looked back for has missed none."""
    monkeypatch.setattr("mcp_sessions.delivery.poller.GAP_SECONDS", GAP_SECONDS)
    session, calls = (await new_session()).record, [Cancelled(), Cancelled()]
    for number, call in enumerate(calls):
        get_hub().calls.register(session, number, call)
    for number, call in enumerate(calls):
        # Nothing else runs on this loop until the sleep is over. The first look of all compares
        # everything with the store: it is the second call that shows it.
        cancel_elsewhere(session, number)
        time.sleep(LONG_SECONDS)
        async with asyncio.timeout(DEADLINE):
            await call.is_cancelled.wait()
        get_hub().calls.unregister(session, number, call)


async def test_who_looks_rarely_finds_what_was_rung_for_since_it_waits(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.delivery.poller.GAP_SECONDS", GAP_SECONDS)
    monkeypatch.setitem(settings.MCP_SESSIONS, "POLL_SECONDS", LONG_SECONDS)
    session = (await new_session()).record
    for number in range(2):
        # The first look of all compares everything with the store: it is the second that shows it.
        call = Cancelled()
        get_hub().calls.register(session, number, call)
        cancel_elsewhere(session, number)
        async with asyncio.timeout(DEADLINE):
            await call.is_cancelled.wait()
        get_hub().calls.unregister(session, number, call)
