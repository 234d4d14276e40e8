"""With the sessions in Redis, a row in the database says of each that it was there, and how it ended."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

from tests.e2e.test_guide_dialect import guide_session
from tests.e2e.workers.conftest import StartCluster, Workers, on, signals_of
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import text_of
from tests.e2e.workers.test_signals import all_is_told
from tests.e2e.workers.test_times import used
from tests.harness.running import eventually, run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, request

pytestmark = on("redis")

LOG_IN: Final = """
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
operator = User.objects.create_superuser("operator")
session = SessionStore()
session["_auth_user_id"] = operator.pk
session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
session["_auth_user_hash"] = operator.get_session_auth_hash()
session.save()
print(session.session_key)
"""


def database(worker: ServerProcess) -> Any:
    path = worker.env["DATABASE_URL"].removeprefix("sqlite:///")
    return closing(sqlite3.connect(path, isolation_level=None))


def row_of(worker: ServerProcess, key: str) -> tuple[str, str | None, str] | None:
    """(when it expires, when it ended, and why), as the row says."""
    query = "SELECT expires_at, ended_at, end_reason FROM mcp_sessions_session WHERE key = ?"
    with database(worker) as connection:
        found: tuple[str, str | None, str] | None = connection.execute(query, [key]).fetchone()
    return found


async def opened(worker: ServerProcess) -> tuple[RawSession, str]:
    session = await RawSession.open(worker.url)
    return session, text_of(await session.call("session_key"))


def test_a_session_is_a_row_that_operators_see(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        session, key = await opened(here)
        await eventually(lambda: row_of(here, key) is not None)
        assert (row_of(here, key) or ("", "", ""))[1:] == (None, "")
        assert await RawSession(there.url, session.session_id).delete() == 204
        await eventually(lambda: (row_of(here, key) or ("", "", ""))[2] == "deleted")
        cookie = (await asyncio.to_thread(there.manage, "shell", "-v0", "-c", LOG_IN)).strip()
        url = f"{there.origin}/admin/mcp_sessions/session/?state=ended&q={key}"
        async with request("GET", url, {"Cookie": f"sessionid={cookie}"}) as response:
            page = (await response.body()).decode()
            assert response.status == 200, page
        assert f"{key[:8]}…" in page and "1 session" in page

    run(scenario())


def test_there_is_no_row_if_none_is_wanted(start_cluster: StartCluster, gates: Gates) -> None:
    worker = start_cluster(1, SESSION_ROWS=False)[0]

    async def scenario() -> None:
        session, key = await opened(worker)
        assert await session.delete() == 204
        # What is put aside is done in order, rows and signals.
        await all_is_told([worker], signals_of(gates))
        assert row_of(worker, key) is None

    run(scenario())


def test_a_purge_makes_good_what_no_row_says(start_cluster: StartCluster) -> None:
    """One session ended, and its worker was killed before that was written; another lived on."""
    lost, other = (worker.at("/brief") for worker in start_cluster().workers)

    async def scenario() -> None:
        session, key = await opened(lost)
        async with guide_session(other) as guide, used([guide]):
            living = text_of(await guide.call("session_key", {}))
            await eventually(lambda: None not in (row_of(other, key), row_of(other, living)))
            with database(other) as connection:
                connection.execute("BEGIN IMMEDIATE")
                assert await session.delete() == 204
                await asyncio.to_thread(lost.kill)
                connection.execute("ROLLBACK")
            assert (row_of(other, key) or ("", "", ""))[1:] == (None, "")
            await eventually(lambda: datetime.now(UTC) > max(ends(other, key), ends(other, living)))
            began = datetime.now(UTC)
            await asyncio.to_thread(other.manage, "clear_mcp_sessions")
            assert row_of(other, key) is None
            assert ends(other, living) > began
            assert (row_of(other, living) or ("", "", ""))[1:] == (None, "")

    run(scenario())


def ends(worker: ServerProcess, key: str) -> datetime:
    row = row_of(worker, key)
    assert row is not None
    return datetime.fromisoformat(row[0]).replace(tzinfo=UTC)
