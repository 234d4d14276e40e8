"""What can be chosen for a soak."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

Database = Literal["postgresql", "mariadb", "sqlite"]
Store = Literal["database", "redis"]
Fault = Literal["dropped", "doubled", "reordered", "reply-lost"]

PAUSE_SECONDS: Final = 0.6
"""What a client rests between two steps, on average."""
PATIENCE_SECONDS: Final = 45.0
WORKER_TIMEOUT: Final = 9

SERVER: Final = "tests.soak.server:server"
BRIEF_PATH: Final = "/brief"
"""The endpoint whose sessions expire soon."""
BRIEF_SECONDS: Final = 75
"""Longer than a client that goes on with its session is ever silent, outages and pauses included."""

SETTINGS: Final[dict[str, Any]] = {
    "SERVERS": {BRIEF_PATH: {"SERVER": SERVER, "SESSION_TIMEOUT": BRIEF_SECONDS}},
    "STREAM_AFTER_SECONDS": 0.5,
    "HEARTBEAT_SECONDS": 2,
    "RETRY_MILLISECONDS": 100,
    "DRAIN_SECONDS": 2,
    "WORKER_TIMEOUT": WORKER_TIMEOUT,
    # What applications have, and other tests have not.
    "STORE_TIMEOUT": 10,
    "STORE_LOCK_SECONDS": 5,
}
"""MCP_SESSIONS of the servers: brisk, so that much happens in a minute."""


@dataclass(frozen=True)
class Options:
    seed: int
    seconds: float | None = None
    """After so many seconds nothing new is begun; None: the steps alone are the bound."""
    steps: int = 100
    """Steps drawn for each client."""
    clients: int = 6
    workers: int = 3
    has_troubles: bool = True
    """Whether workers are killed, restarted and paused, and services cut off."""
    fault: Fault | None = None
    patience: float = PATIENCE_SECONDS
    """Seconds without a sign of life after which a call counts as hanging, and a message as lost."""
    database: Database = "postgresql"
    store: Store = "database"
    redis: bool = False
    """Whether workers notify each other over a channel layer on Redis."""
    is_busy: bool = False
    """Whether something else keeps every core busy."""

    @property
    def services(self) -> int:
        """How many services there are from which the workers can be cut off."""
        return (self.database != "sqlite") + self.redis + (self.store == "redis")


def parse(arguments: Sequence[str] | None, description: str) -> Options:
    parser = argparse.ArgumentParser(
        "python -m tests.soak", description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=60, help="how long new things are begun (default: 60)")
    add("--steps", type=int, help="so many steps a client instead, however long they take")
    add("--seed", type=int, help="of the schedule (default: a new one, which is printed)")
    add("--workers", type=int, default=3, help="server processes (default: 3)")
    add("--clients", type=int, default=6, help="simulated clients (default: 6)")
    add("--database", choices=get_args(Database), default="postgresql", help="default: postgresql")
    add("--store", choices=get_args(Store), default="database", help="of the sessions (default: database)")
    add("--redis", action="store_true", help="with a channel layer on Redis, else processes poll")
    add("--busy", action="store_true", help="with every core kept busy by something else")
    add("--calm", action="store_true", help="no worker is killed, restarted or paused, no service cut off")
    add("--fault", choices=get_args(Fault), help="make the clients see or do what must be found")
    add("--patience", type=float, default=PATIENCE_SECONDS, help="seconds of silence that count as hanging")
    given = parser.parse_args(arguments)
    return Options(
        seed=secrets.randbelow(10**6) if given.seed is None else given.seed,
        seconds=None if given.steps else given.seconds,
        steps=given.steps or max(1, round(given.seconds / PAUSE_SECONDS)),
        clients=given.clients,
        workers=given.workers,
        has_troubles=not given.calm,
        fault=given.fault,
        patience=given.patience,
        database=given.database,
        store=given.store,
        redis=given.redis,
        is_busy=given.busy,
    )
