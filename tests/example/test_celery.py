"""A real worker and a real beat, over the broker that needs no server."""

from __future__ import annotations

import sys

import pytest

from mcp_sessions.conf import app_settings
from mcp_sessions.tasks import PURGE, beat_schedule
from tests.example.conftest import Example, eventually

CELERY = (sys.executable, "-m", "celery", "-A", "example_project")

OPEN_THREE = """
from asgiref.sync import async_to_sync
from django.utils import timezone
from mcp_sessions.identifiers import digest_of, new_key, new_session_id
from mcp_sessions.records import SessionRecord, expiry
from mcp_sessions.stores import get_store

now = timezone.now()
for name, seconds, ended_at in (("live", 600, None), ("expired", -600, None), ("ended", 600, now)):
    async_to_sync(get_store().acreate)(
        SessionRecord(
            key=f"{name}-{new_key()}"[:20],
            digest=digest_of(new_session_id()),
            server="/mcp",
            owner="",
            created_at=now,
            last_accessed_at=now,
            expires_at=expiry(now, seconds),
            ended_at=ended_at,
        )
    )
"""


@pytest.fixture
def with_sessions(migrated: Example) -> Example:
    """One session that lives, one that has expired, one that was ended."""
    migrated.manage("shell", "-v0", "-c", OPEN_THREE)
    assert len(keys(migrated)) == 3
    return migrated


def keys(example: Example) -> list[str]:
    return [str(key) for (key,) in example.query("SELECT key FROM mcp_sessions_session ORDER BY key")]


def only_the_live_one_is_left(example: Example) -> bool:
    return [key.split("-")[0] for key in keys(example)] == ["live"]


def test_beat_and_worker_purge(with_sessions: Example) -> None:
    (with_sessions.folder / "often.py").write_text(
        "from example_project.settings import *\n"
        'MCP_SESSIONS = {**MCP_SESSIONS, "SESSION_CLEANUP_INTERVAL": 1}\n'
    )
    often = {"DJANGO_SETTINGS_MODULE": "often"}
    with (
        with_sessions.process(*CELERY, "worker", "--loglevel", "INFO", **often) as worker,
        with_sessions.process(*CELERY, "beat", "--loglevel", "INFO", **often) as beat,
    ):
        eventually(
            lambda: only_the_live_one_is_left(with_sessions), why=lambda: worker.output() + beat.output()
        )
        worker.says(f"Task {PURGE}")


def test_worker_does_what_anybody_sends(with_sessions: Example) -> None:
    send = "from mcp_sessions.tasks import purge_expired_sessions; purge_expired_sessions.delay()"
    with with_sessions.process(*CELERY, "worker", "--pool", "solo", "--loglevel", "INFO") as worker:
        with_sessions.manage("shell", "-v0", "-c", send)
        eventually(lambda: only_the_live_one_is_left(with_sessions), why=worker.output)


def test_the_command_does_the_same(with_sessions: Example) -> None:
    assert with_sessions.manage("clear_mcp_sessions") == "Deleted 2 sessions.\n"
    assert only_the_live_one_is_left(with_sessions)
    assert with_sessions.manage("clear_mcp_sessions") == "Deleted 0 sessions.\n"


def test_the_schedule_follows_the_setting() -> None:
    interval = app_settings.SESSION_CLEANUP_INTERVAL
    assert beat_schedule() == {
        "mcp-sessions-purge": {"task": PURGE, "schedule": interval, "options": {"expires": interval}}
    }
