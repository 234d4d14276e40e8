"""A Celery worker that is killed in the middle of a purge: nothing is lost, and nothing happens twice."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

from tests.e2e.operations.celery_processes import celery_worker
from tests.e2e.operations.conftest import RABBITMQ, Operated
from tests.e2e.operations.holding import AFTER
from tests.harness.server import START_DEADLINE, manage, wait_until
from tests.harness.services import REDIS, needed

COUNT: Final = 30
BATCH: Final = 5
TOLD: Final = 7
"""Where the first worker is killed: it has told of one whole batch, and of a part of the next."""
DELETED: Final = 12
"""Where the second is: it has deleted two whole batches, and a part of the next."""
HELD: Final = 4711
WATCH: Final = f"""
CREATE TABLE deleted (key text, place serial);
CREATE FUNCTION watch() RETURNS trigger AS $$
BEGIN
  INSERT INTO deleted (key) VALUES (OLD.key);
  IF (SELECT count(*) FROM deleted) = {DELETED} THEN
    PERFORM pg_advisory_xact_lock({HELD});
  END IF;
  RETURN OLD;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER watch BEFORE DELETE ON mcp_sessions_session FOR EACH ROW EXECUTE FUNCTION watch();
"""
WAITS: Final = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
OTHERS: Final = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def options(operated: Operated, **more: str) -> dict[str, str]:
    return {**operated.env, "E2E_MCP_SESSIONS": json.dumps({"PURGE_BATCH": BATCH}), **more}


def until(condition: Any, why: Any) -> None:
    assert wait_until(condition, START_DEADLINE), why()


def test_two_workers_are_killed_and_the_next_run_finishes(operated: Operated) -> None:
    needed(RABBITMQ, "RabbitMQ")
    needed(REDIS, "Redis")
    operated.run_out(COUNT)
    operated.execute(WATCH)

    holding = {AFTER: str(TOLD), "E2E_APPS": "tests.e2e.operations.holding.HoldingConfig"}
    with celery_worker(operated.folder, RABBITMQ, options(operated, **holding)) as worker:
        worker.purge()
        until(lambda: len(operated.told()) == TOLD, worker.log)
        worker.kill()
    assert operated.number("ended_at IS NOT NULL") == 2 * BATCH
    assert operated.number() == COUNT

    operated.execute("SELECT pg_advisory_lock(%s)", HELD)
    with celery_worker(operated.folder, REDIS, options(operated)) as worker:
        worker.purge()
        until(lambda: operated.execute(WAITS, HELD), worker.log)
        worker.kill()
    operated.execute("SELECT pg_advisory_unlock(%s)", HELD)
    # The database finds out that nobody is there any more, and takes back the batch that died.
    until(lambda: not operated.execute(OTHERS), lambda: "a connection is still there")
    assert operated.number("ended_at IS NULL") == 0
    assert operated.number() == COUNT - DELETED // BATCH * BATCH

    printed = manage("clear_mcp_sessions", "--json", env=options(operated))
    assert json.loads(printed) == {"deleted": COUNT - DELETED // BATCH * BATCH}
    assert operated.number() == 0
    deleted = operated.execute("SELECT key FROM deleted")
    assert Counter(deleted) == {(f"over-{n}",): 1 for n in range(1, COUNT + 1)}
    signals = Counter((each.name, each.key) for each in operated.told())
    assert set(signals.values()) == {1}
    assert {name for name, _ in signals} == {"session_expired"}
    # Those of the batch that died, of which nobody had been told yet.
    assert len(signals) == COUNT - (2 * BATCH - TOLD)
