"""A client that leaves, or code that is cancelled, while a row is written: what is written is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import pytest

from mcp_sessions.deferred import flush_deferred
from mcp_sessions.lifecycle import aend_session, apurge, awarn_expiring
from mcp_sessions.records import NO_LIMITS, Limits, SessionRecord
from mcp_sessions.runtime import current
from mcp_sessions.stores.database import DatabaseSessionStore
from tests.doors.client import JSON_POST, McpClient, initialize
from tests.doors.conftest import on_mount, streaming
from tests.doors.doors import AsgiDoor, pairs
from tests.doors.test_announcements import Heard, heard, run_out
from tests.process import eventually, in_thread
from tests.servers import DEADLINE

__all__ = ["heard"]

"""Where a client can leave."""


class Held(DatabaseSessionStore):
    """A store that has written, and does not say so yet."""

    verb: ClassVar = ""
    has_written: ClassVar[threading.Event]
    may_answer: ClassVar[threading.Event]

    def create(self, session: SessionRecord, limits: Limits = NO_LIMITS) -> Sequence[SessionRecord]:
        return self._hold("create", super().create(session, limits))

    def end(self, key: str, at: datetime, reason: str) -> bool:
        return self._hold("end", super().end(key, at, reason))

    def expire(self, *which: Any) -> Sequence[SessionRecord]:
        return self._hold("expire", super().expire(*which))

    def warn(self, key: str, expires_at: datetime) -> bool:
        return self._hold("warn", super().warn(key, expires_at))

    def _hold(self, verb: str, answer: Any) -> Any:
        if verb == self.verb:
            self.has_written.set()
            assert self.may_answer.wait(DEADLINE)
        return answer


Hold = Callable[[str], None]


@pytest.fixture
def hold(settings: Any) -> Iterator[Hold]:
    """Hold a verb of the store up, once it has written."""
    Held.verb, Held.has_written, Held.may_answer = "", threading.Event(), threading.Event()
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": {"BACKEND": f"{__name__}.Held"}}

    def choose(verb: str) -> None:
        Held.verb = verb

    yield choose
    Held.may_answer.set()


async def leave(door: AsgiDoor, method: str, client: McpClient, body: Any = None) -> None:
    """Send a request, and leave once its row is written."""
    known = {"Mcp-Session-Id": client.session_id, **(JSON_POST if body else {})}
    parts = [json.dumps(body).encode() if body else b""]
    answer = await door.start(method, "/mcp", pairs(known), parts)
    await eventually(Held.has_written.is_set)
    door.leave_all()
    if not door.has_get:
        # Django has cancelled the view.
        await door.finished()
    Held.may_answer.set()
    await door.finished()
    answer.cancel()


@streaming
async def test_who_leaves_while_its_session_is_opened(door: AsgiDoor, heard: Heard, hold: Hold) -> None:
    hold("create")
    await leave(door, "POST", McpClient(door), initialize())
    await eventually(lambda: heard.all == [("session_created", "initialize")])


@streaming
async def test_who_leaves_while_another_makes_room_for_it(
    door: AsgiDoor, heard: Heard, hold: Hold, settings: Any
) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "MAX_SESSIONS_PER_CLIENT": 1}
    await McpClient(door).open()
    hold("create")
    await leave(door, "POST", McpClient(door), initialize())
    replaced = [("session_limit_reached", "replaced"), ("session_ended", "replaced")]
    await eventually(lambda: heard.all[1:] == [("session_created", "initialize"), *replaced])


@streaming
async def test_who_leaves_while_its_session_is_deleted(door: AsgiDoor, heard: Heard, hold: Hold) -> None:
    client = await McpClient(door).open()
    hold("end")
    await leave(door, "DELETE", client)
    await eventually(lambda: heard.all[1:] == [("session_ended", "deleted")])


ENDINGS: Final[dict[str, tuple[str, Callable[[str], Awaitable[object]], tuple[str, str]]]] = {
    "end": ("end", aend_session, ("session_ended", "operator")),
    "purge": ("expire", lambda _: apurge(), ("session_expired", "expired")),
    "warn": ("warn", lambda _: awarn_expiring(), ("session_warned", "expiring")),
}


@on_mount
@pytest.mark.parametrize(("verb", "work", "told"), ENDINGS.values(), ids=ENDINGS)
async def test_what_the_project_cancels_is_told_all_the_same(
    door: AsgiDoor,
    heard: Heard,
    hold: Hold,
    settings: Any,
    verb: str,
    work: Callable[[str], Awaitable[object]],
    told: tuple[str, str],
) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_WARNING_SECONDS": 1801}
    await McpClient(door).open()
    await flush_deferred()
    if verb == "expire":
        await run_out()
    hold(verb)
    doing = asyncio.ensure_future(work(heard.sessions[0].key))
    await eventually(Held.has_written.is_set)
    doing.cancel()
    await asyncio.wait({doing}, timeout=DEADLINE)
    assert doing.cancelled()
    Held.may_answer.set()
    await eventually(lambda: told in heard.all)
    assert heard.all.count(told) == 1


@on_mount
async def test_a_stopping_process_tells_of_what_was_cancelled(
    door: AsgiDoor, heard: Heard, hold: Hold
) -> None:

    await McpClient(door).open()
    await flush_deferred()
    hold("end")
    doing = asyncio.create_task(aend_session(heard.sessions[0].key))
    await eventually(Held.has_written.is_set)
    doing.cancel()
    used = current()
    stopping = asyncio.create_task(used.shutdown())
    await eventually(lambda: used.draining)
    await in_thread(Held.may_answer.set)
    await stopping
    assert heard.all[-1] == ("session_ended", "operator")
