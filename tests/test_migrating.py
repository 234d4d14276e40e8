"""A database that was not migrated: who starts a server, and who asks it, hears what to do."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.lifecycle import look_for_migrations, migration_check
from mcp_sessions.runtime import adopt
from mcp_sessions.stores.migrated import unapplied
from tests.process import eventually, in_thread

pytestmark = pytest.mark.django_db(transaction=True)

FIRST = "0001_initial"


async def test_the_start_says_what_was_not_migrated(process: None, caplog: pytest.LogCaptureFixture) -> None:
    recorder = MigrationRecorder(connection)
    await in_thread(lambda: recorder.record_unapplied("mcp_sessions", FIRST))
    try:
        adopt()
        look_for_migrations()
        await eventually(lambda: f"run manage.py migrate: {FIRST}" in caplog.text)
    finally:
        await in_thread(lambda: recorder.record_applied("mcp_sessions", FIRST))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_database_that_is_away_is_not_told_of(
    process: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(alias: str) -> Any:
        asked.append(alias)
        raise StoreUnavailable("away")

    monkeypatch.setattr(migration_check, "unapplied", refuse)
    adopt()
    look_for_migrations()
    await eventually(lambda: asked == ["default"])
    assert caplog.records == []


def test_a_project_without_migrations_lacks_none(settings: Any) -> None:
    settings.MIGRATION_MODULES = {"mcp_sessions": None}
    assert unapplied("default") == []
