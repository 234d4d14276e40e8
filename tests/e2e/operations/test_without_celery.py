"""Server processes alone, with neither Celery nor cron: they look after their store by themselves."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import started
from tests.e2e.hearing import Heard
from tests.e2e.operations.conftest import Operated
from tests.harness.cluster import Cluster
from tests.harness.running import eventually, run
from tests.harness.server import ROOT, SETTINGS, ServerProcess, environment
from tests.harness.wire import RawSession

COUNT: Final = 40
OPTIONS: Final = {
    "SESSION_CLEANUP_INTERVAL": 0.2,
    "SESSION_GC_THRESHOLD": COUNT // 2,
    "PURGE_BATCH": 4,
    "WORKER_TIMEOUT": 2,
    "POLL_SECONDS": 0.05,
}


@pytest.fixture
def cluster(operated: Operated, tmp_path: Path) -> Iterator[Cluster]:
    env = {name: value for name, value in operated.env.items() if name != "DATABASE_URL"}
    with Cluster(tmp_path, 2, database_url=operated.url, options=OPTIONS, env=env) as cluster:
        started.extend(cluster.workers)
        yield cluster


def test_servers_purge_what_is_over_and_end_what_the_dead_have_left(
    operated: Operated, cluster: Cluster
) -> None:
    first, second = cluster.workers
    operated.run_out(COUNT)
    run(purge(operated, cluster))
    # Nobody is there who could find out before it is looked at.
    second.kill()
    run(leave_a_stream(operated, first))
    second.start()
    run(end_what_is_left(operated, second))


async def purge(operated: Operated, cluster: Cluster) -> None:
    """From the first session on that each opens; both at once, and each session is told of once."""
    sessions = [await RawSession.open(worker.url) for worker in cluster.workers]
    await eventually(lambda: operated.number() == len(sessions))
    # One may delete what the other has ended, and is about to tell of.
    await eventually(lambda: len(told(operated, "session_expired")) >= COUNT)
    expired = [each.key for each in told(operated, "session_expired")]
    assert Counter(expired) == {f"over-{n}": 1 for n in range(1, COUNT + 1)}
    assert [await session.status_of_ping() for session in sessions] == [200, 200]


async def leave_a_stream(operated: Operated, worker: ServerProcess) -> None:
    """Killed, with a client connected."""
    session = await RawSession.open(worker.url)
    async with session.get() as stream:
        await stream.next_event()
        worker.kill()
    assert readers(operated) == 1


async def end_what_is_left(operated: Operated, worker: ServerProcess) -> None:
    """By a process that has no stream, nor ever had one."""
    await RawSession.open(worker.url)
    await eventually(lambda: readers(operated) == 0)
    await eventually(lambda: told(operated, "connection_closed") != [])
    assert [each.reason for each in told(operated, "connection_closed")] == ["lost"]


def told(operated: Operated, name: str) -> list[Heard]:
    return [each for each in operated.told() if each.name == name]


def readers(operated: Operated) -> int:
    return len(operated.execute("SELECT 1 FROM mcp_sessions_stream WHERE reader <> ''"))


def test_commands_exit_as_they_say(operated: Operated) -> None:
    """In a process of their own, as cron runs them."""
    operated.run_out(1)

    def manage(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment({"DJANGO_SETTINGS_MODULE": SETTINGS, **operated.env, **env}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    missing = manage("end_mcp_session", "over-1", "nobody", "--json")
    assert missing.returncode == 1
    assert missing.stdout == '{"ended": [], "not_found": [1, 2]}\n'
    assert missing.stderr.splitlines()[-1] == "CommandError: There is no live session for no. 1, no. 2."
    away = manage("clear_mcp_sessions", DATABASE_URL="postgresql://postgres@127.0.0.1:1/nowhere")
    assert away.returncode == 3
    assert "CommandError: The session store cannot be reached" in away.stderr
    assert "Traceback" not in away.stderr
