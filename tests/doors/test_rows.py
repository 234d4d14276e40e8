"""Sessions that another store keeps are rows in the database too, for operators."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import pytest
from django.utils import timezone

from mcp_sessions import background
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.lifecycle import aextend_session, end, purge, summary_rows
from mcp_sessions.models import Session
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.runtime import adopt, current
from mcp_sessions.signals import session_created
from mcp_sessions.stores import get_store
from mcp_sessions.stores.database.summary import SummaryRows
from tests.doors.client import McpClient
from tests.doors.conftest import on_mount
from tests.doors.doors import Door
from tests.process import eventually, in_thread
from tests.servers import DEADLINE

BACKGROUND: Final = "mcp_sessions.background"
MEMORY = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}

pytestmark = on_mount


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    def change(**options: Any) -> None:
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": MEMORY, **options}

    change()
    return change


async def row() -> Session:
    await flush_deferred()
    return await in_thread(lambda: Session.objects.get())


async def count() -> int:
    await flush_deferred()
    return await in_thread(lambda: Session.objects.count())


async def test_a_row_is_written_when_a_session_opens(configure: Callable[..., None], door: Door) -> None:
    client = await McpClient(door, more_headers={"User-Agent": "doors/1"}).open()
    await client.call("add", {"item": "tea"})
    session = await row()
    kept = await get_store().aload_by_key(session.key)
    assert kept is not None and kept.data == {"basket": ["tea"]}
    assert (session.digest, session.server, session.created_at) == (kept.digest, "/mcp", kept.created_at)
    assert (session.metadata["user_agent"], session.data) == ("doors/1", "{}")


@pytest.mark.parametrize("how", ["deleted", "operator"])
async def test_it_says_how_the_session_ended(configure: Callable[..., None], door: Door, how: str) -> None:
    client = await McpClient(door).open()
    key = (await row()).key
    if how == "deleted":
        await client.delete()
    else:
        await end(key, EndReason.OPERATOR)
    ended = await row()
    assert ended.ended_at is not None
    assert ended.end_reason == how


async def test_who_is_replaced_is_a_row_that_ended(configure: Callable[..., None], door: Door) -> None:
    configure(MAX_SESSIONS_PER_CLIENT=1)
    for _ in range(2):
        await McpClient(door).open()
    await flush_deferred()
    ordered = Session.objects.order_by("pk").values_list("end_reason", flat=True)
    assert await in_thread(lambda: list(ordered)) == ["replaced", ""]


async def test_no_rows_where_nobody_wants_them(configure: Callable[..., None], door: Door) -> None:
    configure(SESSION_ROWS=False)
    client = await McpClient(door).open()
    await client.delete()
    assert await count() == 0
    await in_thread(purge)


async def test_a_process_keeps_its_own_store_clean(configure: Callable[..., None], door: Door) -> None:
    configure(SESSION_CLEANUP_INTERVAL=0.05)
    client = await McpClient(door).open()
    key = (await row()).key
    await client.delete()
    async with asyncio.timeout(DEADLINE):
        while await get_store().aload_by_key(key) is not None or await count():
            await asyncio.sleep(0.01)


async def test_a_purge_deletes_what_is_over(configure: Callable[..., None], door: Door) -> None:
    client, other = await McpClient(door).open(), await McpClient(door).open()
    await client.delete()
    assert await in_thread(purge) == 1
    assert await count() == 1
    assert await other.status() == 200


async def test_a_purge_corrects_a_row_of_a_session_that_was_used(
    configure: Callable[..., None], door: Door
) -> None:
    client = await McpClient(door).open()
    key = (await row()).key
    long_ago = timezone.now() - timedelta(hours=1)
    await in_thread(lambda: Session.objects.update(expires_at=long_ago, timeout_at=long_ago))
    used = await aextend_session(key, 3600)
    await in_thread(purge)
    assert (await row()).expires_at == used.expires_at
    assert await client.status() == 200


async def test_a_purge_ends_the_row_of_a_session_that_is_gone(
    configure: Callable[..., None], door: Door
) -> None:
    """Its process was killed, and took with it what it had in memory."""
    await McpClient(door).open()
    assert await count() == 1
    await in_thread(configure)  # another store: the old one is forgotten
    long_ago = timezone.now() - timedelta(hours=1)
    await in_thread(lambda: Session.objects.update(expires_at=long_ago, timeout_at=long_ago))
    await in_thread(purge)
    assert await count() == 0


class Writing:
    """What becomes of the rows' batches: held up, refused, away."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.fails: Callable[[Sequence[SessionRecord]], Exception | None] = lambda _: None

    def write(self, rows: SummaryRows, sessions: Sequence[SessionRecord]) -> None:
        self.batches.append(len(sessions))
        assert self.may_go_on.wait(DEADLINE)
        if (error := self.fails(sessions)) is not None:
            raise error
        WRITE(rows, sessions)


WRITE: Final = SummaryRows.write


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Writing]:
    writing = Writing()
    monkeypatch.setattr(SummaryRows, "write", lambda rows, sessions: writing.write(rows, sessions))
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)
    yield writing
    writing.may_go_on.set()


async def test_rows_go_together_and_signals_do_not_wait_for_them(
    configure: Callable[..., None], door: Door, writing: Writing
) -> None:
    created: list[str] = []

    def hear(session: SessionRecord, **_: Any) -> None:
        created.append(session.key)

    session_created.connect(hear)
    try:
        writing.may_go_on.clear()
        for _ in range(20):
            await McpClient(door).open()
        await eventually(lambda: len(created) == 20)
        assert await in_thread(Session.objects.count) == 0
        writing.may_go_on.set()
        assert await count() == 20
    finally:
        session_created.disconnect(hear)
    assert len(writing.batches) == 2


async def test_rows_past_the_bound_are_given_up_and_that_is_said(
    configure: Callable[..., None], door: Door, writing: Writing, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(summary_rows, "MAX_WAITING", 2)
    writing.may_go_on.clear()
    clients = [await McpClient(door).open() for _ in range(4)]
    writing.may_go_on.set()
    assert await count() == 2
    lines = [line.getMessage() for line in caplog.records if line.name == "mcp_sessions.lifecycle"]
    assert lines == [
        "rows of sessions are given up: 2 wait to be written",
        "2 rows of sessions were given up",
    ]
    # What was given up is made good when the session ends.
    await clients[-1].delete()
    assert await count() == 3


async def test_rows_wait_for_a_database_that_is_away(
    configure: Callable[..., None], door: Door, writing: Writing, caplog: Any
) -> None:
    writing.fails = lambda _: StoreUnavailable("away") if len(writing.batches) < 3 else None
    await McpClient(door).open()
    assert await count() == 1
    lines = [line.getMessage() for line in caplog.records if line.name == BACKGROUND]
    assert lines == ["background work 'rows of sessions' fails and is retried: away"]


async def test_a_row_that_cannot_be_written_takes_no_other_with_it(
    configure: Callable[..., None], door: Door, writing: Writing, caplog: Any
) -> None:
    writing.may_go_on.clear()
    for agent in ("fine", "bad", "fine"):
        await McpClient(door, more_headers={"User-Agent": agent}).open()
    writing.fails = lambda sessions: (
        ValueError("no") if any(each.metadata["user_agent"] == "bad" for each in sessions) else None
    )
    writing.may_go_on.set()
    assert await count() == 2
    (line,) = [line.getMessage() for line in caplog.records if line.name == "mcp_sessions.lifecycle"]
    assert line.endswith("cannot be written")


async def test_a_stopping_process_says_how_many_rows_it_has_not_written(
    configure: Callable[..., None],
    door: Door,
    writing: Writing,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    monkeypatch.setattr(background, "STOP_SECONDS", 0.01)
    writing.may_go_on.clear()
    await McpClient(door).open()
    await current().shutdown()
    writing.may_go_on.set()
    lines = [line.getMessage() for line in caplog.records if line.name == BACKGROUND]
    assert lines == ["the process stops, and this is not done: 1 rows of sessions"]
    adopt()
