"""Two server processes on one database, and whatever they need to hear of each other."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from tests.e2e.conftest import started
from tests.e2e.workers.gates import FOLDER, Gates
from tests.e2e.workers.senders import CommandSender, Sender, celery_worker
from tests.harness.cluster import Cluster
from tests.harness.databases import SQLiteTemplate, postgres_database
from tests.harness.ports import is_open
from tests.harness.server import Kind, ServerProcess
from tests.harness.services import unavailable

MODES: Final = ("postgresql", "postgresql+redis", "sqlite")
SENDERS: Final = ("command", "celery")
POSTGRES: Final = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
REDIS: Final = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
# A reply becomes a stream only when its tool sends something; and what a worker looks at once per
# heartbeat, or now and then although it hears the bell, must not hide that it was not told.
OPTIONS: Final[Mapping[str, Any]] = {
    "WORKER_TIMEOUT": 5,
    "HEARTBEAT_SECONDS": 3600,
    "STREAM_AFTER_SECONDS": 60,
}
POLLS: Final = {"POLL_SECONDS": 0.05}
HEARS_THE_BELL: Final = {"POLL_SECONDS": 5}

Workers = tuple[ServerProcess, ServerProcess]
StartCluster = Callable[..., Cluster]


class PostgresTemplate:
    """One prepared database on the PostgreSQL server, and copies of it; dropped at the end."""

    def __init__(self, server_url: str, stack: ExitStack) -> None:
        self.server_url = server_url
        self.stack = stack

    @cached_property
    def template(self) -> str:
        return self.stack.enter_context(postgres_database(self.server_url))

    def copy(self) -> str:
        source, name = urlsplit(self.template).path.strip("/"), f"mcp_sessions_e2e_{uuid4().hex[:12]}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        self.stack.callback(self._execute, f'DROP DATABASE "{name}" WITH (FORCE)')
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))

    def _execute(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(sql)


@dataclass(frozen=True)
class Backing:
    """What a cluster stands on."""

    mode: str
    new_database: Callable[[], str]
    redis_url: str | None


def needed(url: str, name: str) -> None:
    parts = urlsplit(url)
    if not is_open(parts.port or 0, parts.hostname or "127.0.0.1"):
        unavailable(f"No {name} answers at {parts.hostname}:{parts.port}.")


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[PostgresTemplate]:
    with ExitStack() as stack:
        yield PostgresTemplate(POSTGRES, stack)


@pytest.fixture(scope="package", params=MODES)
def backing(
    request: pytest.FixtureRequest, template: SQLiteTemplate, postgres_template: PostgresTemplate
) -> Backing:
    mode: str = request.param
    if mode == "sqlite":
        return Backing(mode, template.copy, None)
    needed(POSTGRES, "PostgreSQL")
    if mode == "postgresql":
        return Backing(mode, postgres_template.copy, None)
    needed(REDIS, "Redis")
    return Backing(mode, postgres_template.copy, REDIS)


@pytest.fixture(scope="session")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


def new_cluster(
    backing: Backing, gates: Gates, count: int = 2, kind: Kind = "uvicorn", **options: Any
) -> Cluster:
    cluster = Cluster(
        gates.folder,
        count,
        database_url=backing.new_database(),
        redis_url=backing.redis_url,
        kind=kind,
        options={**OPTIONS, **(HEARS_THE_BELL if backing.redis_url else POLLS), **options},
        server="tests.e2e.servers.workers:server",
        env={FOLDER: str(gates.folder)},
    )
    started.extend(cluster.workers)
    return cluster


@pytest.fixture(scope="package")
def cluster(backing: Backing, gates: Gates) -> Iterator[Cluster]:
    """Two workers for every test of this folder, in each mode."""
    with new_cluster(backing, gates) as cluster:
        yield cluster


@pytest.fixture
def start_cluster(backing: Backing, gates: Gates) -> Iterator[StartCluster]:
    """Start workers with options, and a database, of their own."""
    with ExitStack() as stack:

        def start(count: int = 2, **options: Any) -> Cluster:
            return stack.enter_context(new_cluster(backing, gates, count, **options))

        yield start


@pytest.fixture
def workers(cluster: Cluster, request: pytest.FixtureRequest) -> Workers:
    """The workers A and B of a scenario: for one half of the tests A is the one, for the others the other."""
    return in_turn(cluster, request.node.name)


def in_turn(cluster: Cluster, name: str) -> Workers:
    first = zlib.crc32(name.encode()) % 2
    return cluster[first], cluster[1 - first]


@pytest.fixture(scope="package")
def celery_sender(cluster: Cluster, gates: Gates) -> Iterator[Sender]:
    needed(REDIS, "Redis")
    with celery_worker(gates.folder, cluster[0], REDIS) as sender:
        yield sender


@pytest.fixture(params=SENDERS)
def send(request: pytest.FixtureRequest, workers: Workers) -> Sender:
    if request.param == "command":
        return CommandSender(workers[0])
    sender: Sender = request.getfixturevalue("celery_sender")
    return sender
