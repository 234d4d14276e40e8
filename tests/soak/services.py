"""What the workers of a soak need: a fresh database, a Redis, and gates that cut them off from both."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcp_sessions.conf import OPTIONS
from tests.harness.cluster import Cluster
from tests.harness.databases import SQLiteTemplate, mariadb_database, postgres_database
from tests.harness.gate import Gate
from tests.soak.options import SERVER, SETTINGS, Options
from tests.stores.redis.servers import own_server

POSTGRES: Final = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
MARIADB: Final = os.environ.get("TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/")
REDIS: Final = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
REDIS_STORE: Final = "mcp_sessions.stores.redis.RedisSessionStore"


@dataclass(frozen=True)
class Services:
    database_url: str
    redis_url: str | None
    store_url: str | None
    """Of the Redis that has the sessions; None: the database has them."""
    gates: tuple[Gate, ...]
    """Closed, they cut the workers off; the process that sends from outside goes past them."""


@contextmanager
def services(options: Options, folder: Path) -> Iterator[Services]:
    """Fresh ones, which go with the soak."""
    with ExitStack() as stack:
        gates: list[Gate] = []

        def gated(url: str) -> str:
            gates.append(stack.enter_context(Gate(url)))
            return gates[-1].url

        database_url = stack.enter_context(_database(options, folder))
        store_url = stack.enter_context(own_server(folder)).url if options.store == "redis" else None
        if options.is_busy:
            stack.enter_context(_busy_cores())
        yield Services(
            database_url if options.database == "sqlite" else gated(database_url),
            gated(REDIS) if options.redis else None,
            gated(store_url) if store_url else None,
            tuple(gates),
        )


def cluster(options: Options, folder: Path, needed: Services) -> Cluster:
    chosen: dict[str, Any] = {name: value for name, value in SETTINGS.items() if name in OPTIONS}
    if needed.store_url:
        chosen["SESSION_STORE"] = {"BACKEND": REDIS_STORE, "OPTIONS": {"url": needed.store_url}}
    return Cluster(
        folder,
        options.workers,
        database_url=needed.database_url,
        redis_url=needed.redis_url,
        options=chosen,
        server=SERVER,
        settings="tests.soak.settings",
    )


def past_the_gates(env: Mapping[str, str], gates: tuple[Gate, ...]) -> dict[str, str]:
    """A worker's environment for a process that no gate cuts off."""
    return {name: _past(value, gates) for name, value in env.items()}


def _past(value: str, gates: tuple[Gate, ...]) -> str:
    for gate in gates:
        value = value.replace(f"127.0.0.1:{gate.port}", f"127.0.0.1:{gate.service_port}")
    return value


def _database(options: Options, folder: Path) -> AbstractContextManager[str]:
    found: dict[str, Callable[[], AbstractContextManager[str]]] = {
        "sqlite": lambda: _sqlite_file(folder),
        "postgresql": lambda: postgres_database(POSTGRES),
        "mariadb": lambda: mariadb_database(MARIADB),
    }
    return found[options.database]()


@contextmanager
def _sqlite_file(folder: Path) -> Iterator[str]:
    yield SQLiteTemplate(folder).copy()


@contextmanager
def _busy_cores() -> Iterator[None]:
    """One process a core that never rests."""
    spawn = multiprocessing.get_context("spawn")
    spinning = [spawn.Process(target=_spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.join()


def _spin() -> None:
    while True:
        json.dumps(list(range(1000)))
