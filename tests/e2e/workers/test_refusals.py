"""Processes that count refused requests in the same rows at once: no count is lost, and none fails."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.harness.databases import PostgresTemplate, SQLiteTemplate
from tests.harness.server import manage

WRITES: Final = 60
COUNT: Final = """
import time
from datetime import datetime, UTC
from pathlib import Path
from django.db import connection
from mcp_sessions.analytics.refusals import store_refusals
from mcp_sessions.records import Refusal, RefusalCount
# SQLite as Django has it by itself: transactions begin without a lock.
connection.settings_dict["OPTIONS"].pop("transaction_mode", None)
connection.close()
alike = [Refusal("/mcp", "owner", f"192.0.2.{{n}}", "", "", 1) for n in range({addresses})]
counted = [RefusalCount(each, datetime(2026, 1, 1, 12, 30, tzinfo=UTC)) for each in alike]
(Path({folder!r}) / "{number}").touch()
end = time.monotonic() + 60
while len(list(Path({folder!r}).iterdir())) < 2 and time.monotonic() < end:
    time.sleep(0.01)
for _ in range({writes}):
    store_refusals("default", counted[::{step}])
"""
READ: Final = """
import json
from mcp_sessions.models import RefusalHour
print(json.dumps(list(RefusalHour.objects.values_list("count", flat=True))))
"""


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb"])
def test_two_processes_count_in_the_same_rows(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    env = {"DATABASE_URL": url_of(database, request)}

    def count(number: int) -> str:
        # One takes them the other way round: what is locked in two orders waits for itself.
        step = (1, -1)[number]
        code = COUNT.format(folder=str(tmp_path), number=number, step=step, writes=WRITES, addresses=4)
        return manage("shell", "-v0", "-c", code, env=env)

    with ThreadPoolExecutor(2) as both:
        list(both.map(count, range(2)))
    assert json.loads(manage("shell", "-v0", "-c", READ, env=env)) == [2 * WRITES] * 4


def url_of(database: str, request: pytest.FixtureRequest) -> str:
    if database == "mariadb":
        return str(request.getfixturevalue("mariadb"))
    name = "template" if database == "sqlite" else "postgres_template"
    template: SQLiteTemplate | PostgresTemplate = request.getfixturevalue(name)
    return template.copy()
