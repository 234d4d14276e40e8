"""A real worker and a real beat, over the broker that needs no server, and over those that projects have."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final
from uuid import uuid4

import pytest

from mcp_sessions.conf import app_settings
from mcp_sessions.tasks import ANALYTICS, PURGE, WARN, beat_schedule
from tests.e2e.hearing import FILE, heard
from tests.e2e.operations.celery_processes import forget
from tests.e2e.operations.conftest import RABBITMQ
from tests.example.conftest import Example, Running, eventually
from tests.harness.services import REDIS, needed

Settings = Any
Often = tuple[dict[str, str], int]
"""The environment of its processes, and how many beats there are."""

OFTEN: Final = """
from example_project.settings import *
INSTALLED_APPS = [*INSTALLED_APPS, "tests.e2e.hearing.HearingConfig"]
MCP_SESSIONS = {{**MCP_SESSIONS, "SESSION_CLEANUP_INTERVAL": 1, "SESSION_WARNING_SECONDS": 3600}}
CELERY_TASK_DEFAULT_QUEUE = "{queue}"
"""
CELERY = (sys.executable, "-m", "celery", "-A", "example_project")

OPEN_THREE = """
from datetime import timedelta
from asgiref.sync import async_to_sync
from django.utils import timezone
from mcp_sessions.identifiers import digest_of, new_key, new_session_id
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores import get_store

now = timezone.now()
then = now - timedelta(days=2)
for name, begun, ends, ended_at in (
    ("live", now, now + timedelta(minutes=10), None),
    ("expired", then, then + timedelta(minutes=10), None),
    ("ended", then, now, then),
):
    async_to_sync(get_store().acreate)(
        SessionRecord(
            key=f"{name}-{new_key()}"[:20],
            digest=digest_of(new_session_id()),
            server="/mcp",
            owner="",
            created_at=begun,
            last_accessed_at=begun,
            expires_at=ends,
            timeout_at=ends,
            ended_at=ended_at,
        )
    )
"""

SEND = """
from mcp_sessions.tasks import compute_session_analytics, purge_expired_sessions
compute_session_analytics.delay()
purge_expired_sessions.delay()
"""


@pytest.fixture
def with_sessions(migrated: Example) -> Example:
    """One session that lives; and two days ago one expired, and one was ended."""
    migrated.manage("shell", "-v0", "-c", OPEN_THREE)
    assert len(keys(migrated)) == 3
    return migrated


def keys(example: Example) -> list[str]:
    return [str(key) for (key,) in example.query("SELECT key FROM mcp_sessions_session ORDER BY key")]


def only_the_live_one_is_left(example: Example) -> bool:
    return [key.split("-")[0] for key in keys(example)] == ["live"]


@pytest.fixture(params=[("rabbitmq", 2), ("redis", 1)], ids=lambda param: param[0])
def often(request: pytest.FixtureRequest, with_sessions: Example) -> Iterator[Often]:
    """A project with a broker as projects have it, which purges and warns every second."""
    name, beats = request.param
    broker = {"rabbitmq": RABBITMQ, "redis": REDIS}[name]
    needed(broker, name)
    queue = f"mcp-sessions-{uuid4().hex[:12]}"
    (with_sessions.folder / "often.py").write_text(OFTEN.format(queue=queue))
    signals = str(with_sessions.folder / "signals")
    settings = {"DJANGO_SETTINGS_MODULE": "often", "CELERY_BROKER_URL": broker, FILE: signals}
    yield settings, beats
    forget(broker, queue)


def test_beats_and_worker_purge_and_warn(with_sessions: Example, often: Often) -> None:
    """However many beats there are, each session is told of once."""
    settings, beats = often
    file = with_sessions.folder / "signals"
    expired, live = (key for key in keys(with_sessions) if not key.startswith("ended"))
    with ExitStack() as stack:

        def start(*arguments: str) -> Running:
            command = (*CELERY, *arguments, "--loglevel", "INFO")
            return stack.enter_context(with_sessions.process(*command, **settings))

        worker = start("worker", "--concurrency", "2", "--without-gossip", "--without-mingle")
        schedules = [str(with_sessions.folder / f"schedule-{n}") for n in range(beats)]
        running = [start("beat", "--schedule", schedule) for schedule in schedules]
        for task in (PURGE, WARN):
            done = re.compile(rf"Task {task}\[\S+\] succeeded")
            eventually(lambda done=done: len(done.findall(worker.output())) > 2 * beats, why=worker.output)
        for beat in running:
            beat.says("Sending due task mcp-sessions-purge")
            beat.says("Sending due task mcp-sessions-warn")
    assert only_the_live_one_is_left(with_sessions)
    for key, told in ((expired, ("session_expired", "expired")), (live, ("session_warned", "expiring"))):
        assert [(each.name, each.reason) for each in heard(file, key)] == [told]
    assert len(file.read_text().splitlines()) == 2


def test_worker_does_what_anybody_sends(with_sessions: Example) -> None:
    """Sent before: a worker that looks while a task is written reads half of a file (kombu's own broker)."""
    hours = "SELECT COUNT(*) FROM mcp_sessions_sessionhour WHERE server = ''"
    with_sessions.manage("shell", "-v0", "-c", SEND)
    assert len(keys(with_sessions)) == 3
    with with_sessions.process(*CELERY, "worker", "--pool", "solo", "--loglevel", "INFO") as worker:
        eventually(lambda: with_sessions.query(hours)[0][0] >= 47, why=worker.output)
        eventually(lambda: only_the_live_one_is_left(with_sessions), why=worker.output)


def test_the_command_does_the_same(with_sessions: Example) -> None:
    assert with_sessions.manage("clear_mcp_sessions") == "Deleted 2 sessions.\n"
    assert only_the_live_one_is_left(with_sessions)
    assert with_sessions.manage("clear_mcp_sessions") == "Deleted 0 sessions.\n"


def test_the_schedule_follows_the_settings(settings: Settings) -> None:
    interval = app_settings.SESSION_CLEANUP_INTERVAL
    schedule = beat_schedule()
    hourly = schedule.pop("mcp-sessions-analytics")
    assert (hourly["task"], hourly["options"]) == (ANALYTICS, {"expires": 3600})
    assert hourly["schedule"].minute == {6}
    assert schedule == {
        "mcp-sessions-purge": {"task": PURGE, "schedule": interval, "options": {"expires": interval}},
        "mcp-sessions-warn": {"task": WARN, "schedule": 30, "options": {"expires": 30}},
    }


@pytest.mark.parametrize(
    ("chosen", "seconds"),
    [
        ({"SESSION_WARNING_SECONDS": None}, None),
        ({"SESSION_WARNING_SECONDS": None, "SERVERS": {"/a": {"SESSION_WARNING_SECONDS": 8}, "/b": "b"}}, 4),
        ({"SESSION_WARNING_SECONDS": 3600}, 300),
    ],
)
def test_warnings_come_twice_in_their_time(
    settings: Settings, chosen: Settings, seconds: float | None
) -> None:
    settings.MCP_SESSIONS = chosen
    assert beat_schedule().get("mcp-sessions-warn", {}).get("schedule") == seconds
