"""Server processes on one store, and whatever they need to hear of each other."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.e2e.conftest import started
from tests.e2e.hearing import FILE
from tests.e2e.workers.endpoints import SERVER, SERVERS
from tests.e2e.workers.gates import FOLDER, Gates
from tests.e2e.workers.senders import CommandSender, Sender, celery_worker
from tests.harness.cluster import Cluster
from tests.harness.databases import SQLiteTemplate, mariadb_database
from tests.harness.server import Kind, ServerProcess
from tests.harness.services import MARIADB, REDIS, needed


def on(*modes: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("backing", modes, indirect=True)


# A test of this folder runs on a database with a channel layer, unless it is marked: see tests/README.md.
every_mode: Final = on("postgresql", "postgresql+redis", "redis")
"""For whether and when another worker learns of something: by polling, by notifications, from Redis."""
both_stores: Final = on("postgresql", "redis")
"""For what two processes do to one store at the same time. One process at a time is in the contract."""

# A reply becomes a stream only when its tool sends something; and what a worker looks at once per
# heartbeat, or now and then although it hears the bell, must not hide that it was not told.
OPTIONS: Final[Mapping[str, Any]] = {
    # Where no worker is to die, none may be declared lost because it waits for its turn.
    "WORKER_TIMEOUT": 60,
    "HEARTBEAT_SECONDS": 3600,
    "STREAM_AFTER_SECONDS": 60,
    # Tests leave sessions open, all from one address: they must not push out each other's.
    "MAX_SESSIONS_PER_CLIENT": None,
    "SERVERS": SERVERS,
}
POLLS: Final = {"POLL_SECONDS": 0.05}
HEARS_THE_BELL: Final = {"POLL_SECONDS": 5}

Workers = tuple[ServerProcess, ServerProcess]
StartCluster = Callable[..., Cluster]
StoreOptions = AbstractContextManager[Mapping[str, Any]]
"""The options that name a store, which is empty, and gone in the end."""


@dataclass(frozen=True)
class Backing:
    """What a cluster stands on."""

    mode: str
    new_database: Callable[[], str]
    redis_url: str | None = None
    store_options: Callable[[], StoreOptions] = lambda: nullcontext({})


@contextmanager
def redis_store(url: str = REDIS) -> Iterator[Mapping[str, Any]]:
    """The options of a Redis store that shares no key with any other."""
    import redis

    prefix = f"e2e:{uuid4().hex}"
    backend = "mcp_sessions.stores.redis.RedisSessionStore"
    # A busy machine answers later than an application should wait.
    options = {"url": f"{url}?socket_timeout=60", "key_prefix": prefix}
    yield {"SESSION_STORE": {"BACKEND": backend, "OPTIONS": options}}
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(f"{prefix}:*", count=1000):
            client.delete(key)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """One database for all: the server cannot copy one as the others can."""
    needed(MARIADB, "MariaDB")
    with mariadb_database(MARIADB) as url:
        yield url


@pytest.fixture(scope="package", params=["postgresql+redis"])
def backing(request: pytest.FixtureRequest, template: SQLiteTemplate) -> Backing:
    mode: str = request.param
    if "redis" in mode:
        needed(REDIS, "Redis")
    if mode.startswith("postgresql"):
        copy = request.getfixturevalue("postgres_template").copy
        return Backing(mode, copy, REDIS if mode == "postgresql+redis" else None)
    if mode == "mariadb":
        url = request.getfixturevalue("mariadb")
        return Backing(mode, lambda: url)
    # With other stores the database has slim rows.
    if mode == "redis":
        return Backing(mode, template.copy, store_options=redis_store)
    return Backing(mode, template.copy)


@pytest.fixture(scope="session")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@contextmanager
def new_cluster(
    backing: Backing, gates: Gates, count: int = 2, kind: Kind = "uvicorn", **options: Any
) -> Iterator[Cluster]:
    hears = HEARS_THE_BELL if backing.redis_url else POLLS
    with backing.store_options() as store:
        cluster = Cluster(
            gates.folder,
            count,
            database_url=backing.new_database(),
            redis_url=backing.redis_url,
            kind=kind,
            options={**OPTIONS, **hears, **store, **options},
            server=SERVER,
            env={FOLDER: str(gates.folder), FILE: str(signals_of(gates))},
        )
        started.extend(cluster.workers)
        with cluster:
            yield cluster


def signals_of(gates: Gates) -> Path:
    """Where the processes of clusters write down the signals that they send."""
    return gates.folder / "signals"


@pytest.fixture(scope="package")
def cluster(backing: Backing, gates: Gates) -> Iterator[Cluster]:
    """Two workers for every test of this folder, in each mode."""
    with new_cluster(backing, gates) as cluster:
        yield cluster


@pytest.fixture
def start_cluster(backing: Backing, gates: Gates) -> Iterator[StartCluster]:
    """Start workers with options, and a store, of their own."""
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


def both_at(path: str, workers: Workers) -> Workers:
    """The workers as clients of another endpoint see them."""
    return workers[0].at(path), workers[1].at(path)


@pytest.fixture(scope="package")
def celery_sender(cluster: Cluster, gates: Gates) -> Iterator[Sender]:
    needed(REDIS, "Redis")
    with celery_worker(gates.folder, cluster[0], REDIS) as sender:
        yield sender


@pytest.fixture
def send(request: pytest.FixtureRequest, workers: Workers) -> Sender:
    """What sends from another process: a Celery worker, or, for a test that says so, a command."""
    if getattr(request, "param", "celery") == "command":
        return CommandSender(workers[0])
    sender: Sender = request.getfixturevalue("celery_sender")
    return sender
