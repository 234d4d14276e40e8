"""What a class gives whose tests run on a database: it says by `alias` which."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models import F

from mcp_sessions.models import Worker
from mcp_sessions.stores.database import DatabaseSessionStore


class DatabaseFixtures:
    @pytest.fixture
    def store(self, alias: str) -> Iterator[DatabaseSessionStore]:
        """A store in the class's database; skipped where no server runs, but never in CI."""
        if alias not in settings.DATABASES:
            reason = f"no server answers for the database {alias!r}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        store = DatabaseSessionStore(alias)
        yield store
        store.close()

    @pytest.fixture
    def options(self, alias: str) -> dict[str, str]:
        return {"alias": alias}

    @pytest.fixture
    def make_late(self, alias: str) -> Callable[[str, float], None]:
        """Set a worker's last beat back by so many seconds."""

        def set_back(worker: str, seconds: float) -> None:
            row = Worker.objects.using(alias).filter(name=worker)
            assert row.update(heartbeat_at=F("heartbeat_at") - timedelta(seconds=seconds)) == 1

        return set_back
