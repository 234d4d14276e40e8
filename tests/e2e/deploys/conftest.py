"""Clusters on PostgreSQL with databases of their own, with and without Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.e2e.conftest import started
from tests.e2e.workers.gates import FOLDER, Gates
from tests.harness.cluster import Cluster
from tests.harness.gate import Gate
from tests.harness.services import REDIS, needed

SERVER: Final = "tests.e2e.servers.deploys:server"
OPTIONS: Final[Mapping[str, Any]] = {
    "POLL_SECONDS": 0.05,
    # A process beats three times meanwhile: one that is held up for seconds is alive.
    "WORKER_TIMEOUT": 12,
    "STREAM_AFTER_SECONDS": 0.5,
    # What is not noticed otherwise is found with the next keep-alive: here nothing is found by chance.
    "HEARTBEAT_SECONDS": 600,
    "DRAIN_SECONDS": 20,
}
# Where no worker dies, none may be declared lost because the machine is slow.
PATIENT: Final[Mapping[str, Any]] = {"WORKER_TIMEOUT": 60}

StartCluster = Callable[..., Cluster]


@pytest.fixture
def database(postgres: str) -> str:
    return postgres


@pytest.fixture(scope="session")
def redis() -> str:
    needed(REDIS, "Redis")
    return REDIS


# Workers hear of each other by a channel layer, unless the test is marked.
either_way: Final = pytest.mark.parametrize("redis_url", ["polling", "redis"], indirect=True)
"""For what one worker learns of another whose end, or whose outage, it has to hear of in time."""


@pytest.fixture(params=["redis"])
def redis_url(request: pytest.FixtureRequest) -> str | None:
    """How workers hear of each other."""
    url: str | None = request.getfixturevalue("redis") if request.param == "redis" else None
    return url


@pytest.fixture(scope="session")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture
def new_cluster(database: str, gates: Gates) -> Iterator[StartCluster]:
    """Workers on the test's database; MCP_SESSIONS is changed by `options`. Ended after the test."""
    # Clusters of one test hear each other, and nobody else.
    common = {FOLDER: str(gates.folder), "E2E_CHANNEL_PREFIX": uuid4().hex}
    with ExitStack() as stack:

        def new(
            count: int = 2, options: Mapping[str, Any] = {}, env: Mapping[str, str] = {}, **given: Any
        ) -> Cluster:
            given = {"database_url": database, "server": SERVER, **given}
            told = {**OPTIONS, **options}
            cluster = Cluster(gates.folder, count, options=told, env={**common, **env}, **given)
            started.extend(cluster.workers)
            stack.callback(cluster.end)
            return cluster

        yield new


@pytest.fixture
def start_cluster(new_cluster: StartCluster) -> StartCluster:
    def start(*arguments: Any, **given: Any) -> Cluster:
        cluster = new_cluster(*arguments, **given)
        cluster.start()
        return cluster

    return start


@pytest.fixture
def database_gate(database: str) -> Iterator[Gate]:
    """A gate in front of the test's database; it is told to the workers by its URL.

    A test asks for it before it asks for workers: so they are ended before it is closed.
    """
    with Gate(database) as gate:
        yield gate


@pytest.fixture
def redis_gate(redis: str) -> Iterator[Gate]:
    with Gate(redis) as gate:
        yield gate
