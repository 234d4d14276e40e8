"""Requests that were served are counted, however soon and in whichever way the session ends after them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from django.core.management import call_command
from django.utils import timezone

from mcp_sessions.deferred import flush_deferred
from mcp_sessions.lifecycle import aend_session, end_session, endings, summary_rows
from mcp_sessions.models import Session
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.runtime import adopt, current
from mcp_sessions.signals import session_ended
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient
from tests.doors.conftest import on_mount
from tests.doors.doors import Door
from tests.process import in_thread

pytestmark = on_mount

MEMORY: Final = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}

Ends = Callable[[McpClient, str], Awaitable[object]]


async def another_worker_ends(key: str) -> None:
    """It knows of what is written by then, and has the row say so."""
    await get_store().aend(key, timezone.now(), EndReason.OPERATOR)
    ended = await get_store().aload_by_key(key)
    assert ended is not None
    summary_rows.has_ended(ended, EndReason.OPERATOR)


async def time_runs_out() -> None:
    later = timezone.now() + timedelta(days=1)
    await endings._have_expired(await get_store().aexpire(later, 10))


HERE: Final[dict[str, Ends]] = {
    "deleted": lambda client, _: client.delete(),
    "ended": lambda _, key: aend_session(key),
    "ended by synchronous code": lambda _, key: in_thread(lambda: end_session(key)),
    "replaced": lambda client, _: McpClient(client.door).open(),
    "expired": lambda *_: time_runs_out(),
}
ELSEWHERE: Final[dict[str, Ends]] = {
    "ended by another worker": lambda _, key: another_worker_ends(key),
}
COMMAND: Final[dict[str, Ends]] = {
    "ended by a command": lambda _, key: in_thread(lambda: call_command("end_mcp_session", key, verbosity=0)),
}
DATABASE: Final = {**HERE, **ELSEWHERE, **COMMAND}


async def used_five_times(door: Door) -> tuple[McpClient, str]:
    client = await McpClient(door).open()
    for _ in range(5):
        assert await client.status() == 200
    await flush_deferred()
    return client, (await in_thread(Session.objects.get)).key


async def requests_of(key: str) -> int:
    await flush_deferred()
    return (await in_thread(lambda: Session.objects.get(key=key))).requests


@pytest.fixture
def one_session(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "MAX_SESSIONS_PER_CLIENT": 1}


@pytest.mark.usefixtures("one_session")
@pytest.mark.parametrize("ends", DATABASE.values(), ids=DATABASE)
async def test_uses_are_written_with_the_end(door: Door, ends: Ends) -> None:
    client, key = await used_five_times(door)
    await ends(client, key)
    if ends in ELSEWHERE.values():
        await current().shutdown()
        adopt()
    assert await requests_of(key) == 5


@pytest.mark.usefixtures("one_session")
@pytest.mark.parametrize("ends", [*HERE.values(), *ELSEWHERE.values()], ids=[*HERE, *ELSEWHERE])
async def test_the_row_beside_another_store_counts_them_too(door: Door, settings: Any, ends: Ends) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": MEMORY}
    client, key = await used_five_times(door)
    await ends(client, key)
    if ends in ELSEWHERE.values():
        await current().shutdown()
        adopt()
    assert await requests_of(key) == 5


@pytest.mark.usefixtures("one_session")
@pytest.mark.parametrize("how", ["deleted", "ended", "replaced"])
async def test_the_signal_of_the_end_knows_them(door: Door, how: str) -> None:
    told: list[SessionRecord] = []

    def hear(session: SessionRecord, **_: Any) -> None:
        told.append(session)

    session_ended.connect(hear)
    try:
        await HERE[how](*await used_five_times(door))
        await flush_deferred()
    finally:
        session_ended.disconnect(hear)
    (session,) = told
    assert session.requests == 5
    assert session.ended_at is not None and session.end_reason


async def test_who_ends_a_session_gets_it_as_it_is_then(door: Door) -> None:
    _, key = await used_five_times(door)
    ended = await aend_session(key, "audit")
    assert ended is not None and ended.ended_at is not None
    assert (ended.key, ended.end_reason, ended.requests) == (key, "audit", 5)
    assert ended == await get_store().aload_by_key(key)


async def test_synchronous_code_gets_it_too(door: Door) -> None:
    _, key = await used_five_times(door)
    ended = await in_thread(lambda: end_session(key, "audit"))
    assert ended is not None and ended.ended_at is not None
    assert (ended.end_reason, ended.requests) == ("audit", 5)
