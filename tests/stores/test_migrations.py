"""What is in the database when a project upgrades goes on as it was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from mcp_sessions.models import Session
from mcp_sessions.stores.database import DatabaseSessionStore
from tests.stores.database.aliases import on
from tests.stores.database.fixtures import DatabaseFixtures

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
METADATA = {
    "dialect": "guide",
    "address": "192.0.2.7",
    "client": {"name": "Inspector", "version": "1.2"},
}
BEFORE = [("mcp_sessions", "0002_workers")]


def migrate(alias: str, targets: list[tuple[str, str]]) -> Any:
    """The app's models as they are after these migrations."""
    executor = MigrationExecutor(connections[alias])
    executor.migrate(targets)
    return MigrationExecutor(connections[alias]).loader.project_state(targets).apps


class UpgradeContract(DatabaseFixtures):
    @pytest.fixture
    def latest(self, store: DatabaseSessionStore, alias: str) -> Iterator[list[tuple[str, str]]]:
        nodes = MigrationExecutor(connections[alias]).loader.graph.leaf_nodes()
        leaves = [leaf for leaf in nodes if leaf[0] == "mcp_sessions"]
        yield leaves
        migrate(alias, leaves)

    def test_a_session_goes_on_as_it_was(
        self, store: DatabaseSessionStore, alias: str, latest: list[tuple[str, str]]
    ) -> None:
        models = migrate(alias, BEFORE)
        models.get_model("mcp_sessions", "Session").objects.using(alias).create(
            key="old",
            digest="d" * 64,
            server="/mcp",
            owner="",
            created_at=NOW,
            last_accessed_at=NOW,
            expires_at=NOW + timedelta(minutes=30),
            metadata={"requests": 3, "connections": 2, **METADATA},
            data={"basket": ["tea", "ü"], "n": 1.5},
        )
        migrate(alias, latest)
        session = store.load_by_key("old")
        assert session is not None
        assert session.timeout_at == session.expires_at == NOW + timedelta(minutes=30)
        assert (session.requests, session.connections) == (3, 2)
        assert session.metadata == METADATA
        row = Session.objects.using(alias).get()
        assert (row.address, row.client) == ("192.0.2.7", "inspector 1.2")
        assert session.data == {"basket": ["tea", "ü"], "n": 1.5}


@on("default")
class TestDefault(UpgradeContract):
    @pytest.fixture
    def alias(self) -> str:
        return "default"


@on("postgres")
class TestPostgreSQL(UpgradeContract):
    @pytest.fixture
    def alias(self) -> str:
        return "postgres"


@on("mariadb")
class TestMariaDB(UpgradeContract):
    @pytest.fixture
    def alias(self) -> str:
        return "mariadb"
