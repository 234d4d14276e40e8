"""Broken connections, and databases that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import OperationalError, connections

from mcp_sessions.analytics.errors import with_store_errors
from mcp_sessions.exceptions import StoreNotMigrated, StoreUnavailable
from mcp_sessions.identifiers import digest_of, new_stream_name
from mcp_sessions.models import Session
from mcp_sessions.records import Append
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.stores.migrated import unapplied
from mcp_sessions.testing.store_contract.builders import make_session, messages
from mcp_sessions.testing.store_contract.observing import together
from tests.stores.database.aliases import another_alias


class FailureContract:
    def test_a_failed_commit_is_not_tried_again(
        self, store: DatabaseSessionStore, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commits = []

        def commit() -> None:
            commits.append(1)
            raise OperationalError("the connection was lost")

        monkeypatch.setattr(connections[alias], "commit", commit)
        with pytest.raises(StoreUnavailable, match="unknown"):
            store.create(make_session())
        assert len(commits) == 1

    def test_a_database_that_is_not_there(self, store: DatabaseSessionStore, alias: str) -> None:
        settings = {"NAME": "/nowhere/at/all", "HOST": "127.0.0.1", "PORT": "1"}
        with another_alias(alias, "nowhere", **settings) as nowhere:
            with pytest.raises(StoreUnavailable):
                nowhere.load(digest_of("a"))
            with pytest.raises(StoreUnavailable):
                together(nowhere.aappend([Append(new_stream_name(), messages("a"))]))

    def test_a_database_without_the_tables(
        self, store: DatabaseSessionStore, alias: str, tmp_path: Path
    ) -> None:
        """The database answers, and no waiting helps: what helps is said, in one line."""
        # The servers' own databases have none of the app's tables.
        names = {"sqlite": str(tmp_path / "empty.sqlite3"), "postgresql": "postgres", "mysql": "mysql"}
        with another_alias(alias, "empty", NAME=names[connections[alias].vendor]) as empty:
            for verb in (
                lambda: empty.load(digest_of("a")),
                lambda: empty.create(make_session()),
                lambda: together(empty.aappend([Append(new_stream_name(), messages("a"))])),
                lambda: with_store_errors("empty", Session.objects.using("empty").first),
            ):
                with pytest.raises(StoreNotMigrated, match=r"run manage.py migrate: .+$") as found:
                    verb()
                assert "\n" not in str(found.value)
            assert unapplied("empty")[0] == "0001_initial"
        assert unapplied(alias) == []
