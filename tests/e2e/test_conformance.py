"""The official conformance suites against a server of our own, behind mcp_sessions.

They run against one process on SQLite, and against two on PostgreSQL, each request at the other one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import StartServer, started
from tests.e2e.workers.front import Front
from tests.harness.cluster import Cluster
from tests.harness.conformance import OLDER, Reports, Suite, missed, requirements, scored
from tests.harness.databases import PostgresTemplate
from tests.harness.node import Node
from tests.harness.running import run
from tests.harness.server import ServerProcess

SERVER: Final = "tests.e2e.servers.conformance_2026:server"
SCENARIOS: Final = 32
CHECKS: Final = 44
# Besides the 44: the suite warns where they fail, and official servers do not pass them.
POLLING_CHECKS: Final = 3
SCORED: Final = {"2025-11-25": 30, "2026-07-28": 37}
"""How many scenarios a server of each revision has to pass."""
TASKS: Final = {
    f"tasks-{name}"
    for name in (
        *("lifecycle", "capability-negotiation", "wire-fields", "request-state-removal", "mrtr-input"),
        *("request-headers", "dispatch-and-envelope", "status-notifications", "required-task-error"),
        "mrtr-composition",
    )
}
"""For servers that offer the tasks extension. The server objects of the official SDK do not."""

Workers = Sequence[ServerProcess]


@pytest.fixture(scope="module")
def workers_of(
    start_server: StartServer, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Workers]]:
    """The processes that serve, by name, each started once."""
    with ExitStack() as stack:
        known: dict[str, Workers] = {}

        def start(name: str) -> Workers:
            if name == "uvicorn":
                return [start_server(server=SERVER)]
            if name == "daphne":
                strict = {"E2E_MCP_SESSIONS": json.dumps({"STRICT_ACCEPT": True})}
                return [start_server(kind="daphne", server=SERVER, env=strict)]
            template: PostgresTemplate = request.getfixturevalue("postgres_template")
            cluster = Cluster(
                tmp_path_factory.mktemp("cluster"),
                2,
                database_url=template.copy(),
                options={"POLL_SECONDS": 0.05},
                server=SERVER,
            )
            started.extend(cluster.workers)
            return stack.enter_context(cluster).workers

        yield lambda name: known[name] if name in known else known.setdefault(name, start(name))


@asynccontextmanager
async def address_of(workers: Workers) -> AsyncIterator[str]:
    """Of the only worker; of several, one that hands each request to the next."""
    if len(workers) == 1:
        yield workers[0].url
        return
    front = Front(workers)
    async with front.running():
        yield front.url
    assert all(front.requests.values()), "One worker served it alone."


def run_suite(suite: Suite, workers: Workers, node: Node, folder: Path) -> Reports:
    """The reports of all scenarios. Those that failed are run again with longer waits."""

    async def scenario() -> Reports:
        async with address_of(workers) as url:
            reports = await asyncio.to_thread(suite.run, url, node, folder / "at once")
            again = [name for name, checks in reports.items() if missed(checks) and name not in TASKS]
            return reports | await asyncio.to_thread(
                suite.run_with_longer_waits, url, node, folder / "again", again
            )

    return run(scenario())


@pytest.mark.parametrize("name", ["uvicorn", "daphne", "two workers"])
def test_every_check_of_the_older_suite_succeeds(
    name: str, workers_of: Callable[[str], Workers], node: Callable[[], Node], tmp_path: Path
) -> None:
    reports = run_suite(OLDER, workers_of(name), node(), tmp_path)
    assert len(reports) == SCENARIOS, sorted(reports)
    polling = reports.pop("server-sse-polling")
    assert sum(check["status"] == "SUCCESS" for check in polling) == POLLING_CHECKS, polling
    for checks in (polling, *reports.values()):
        assert not missed(checks), json.dumps(checks, indent=2)
    assert sum(map(len, reports.values())) == CHECKS


@pytest.mark.parametrize("name", ["uvicorn", "two workers"])
@pytest.mark.parametrize("revision", SCORED)
def test_every_requirement_of_a_revision_is_met(
    revision: str,
    name: str,
    workers_of: Callable[[str], Workers],
    node: Callable[[], Node],
    tmp_path: Path,
) -> None:
    required = scored(revision, node())
    assert len(required) == SCORED[revision]
    reports = run_suite(requirements(revision), workers_of(name), node(), tmp_path)
    assert set(required) <= set(reports) and all(reports.values())
    failed = {scenario: checks for scenario, checks in reports.items() if missed(checks)}
    assert set(failed) == (TASKS if revision == "2026-07-28" else set()), json.dumps(failed, indent=2)
