"""The rows of the table: what is measured, against whom, and what it must reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.bench.speed import loads
from tests.bench.speed.loads import Load
from tests.bench.speed.places import Places
from tests.bench.speed.sides import Server, Side, ours, store, theirs

Run = Callable[[Server, int, float], Awaitable[Load]]
CONNECTIONS: Final = (1, 16, 64)
MANY: Final = {1: 1.2, 16: 2.5, 64: 2.5}


@dataclass(frozen=True)
class Row:
    """`sides` are the app's and the other's. `run` loads the app; `against` the other, if it differs.

    `goals` are the least ratios of the rates, by the number of connections or streams. With `by_cost` they
    are the largest ratios of the CPU seconds: of sides that have not as many cores, or are to be equal.
    """

    name: str
    title: str
    sides: Callable[[Places], tuple[Side, Side]]
    run: Run
    numbers: Sequence[int] = CONNECTIONS
    of: str = "connections"
    against: Run | None = None
    goals: Mapping[int, float] = field(default_factory=dict)
    by_cost: bool = False
    rounds: int | None = None
    """If it is not to be repeated as often as the others."""
    is_apart: bool = False
    """Whether it is measured on servers that have done nothing else: what they hold is looked at."""


def _default(places: Places) -> tuple[Side, Side]:
    return ours(places.postgres()), theirs()


def _on_sqlite(places: Places) -> tuple[Side, Side]:
    return ours(places.sqlite(), "on SQLite"), theirs()


def _on_redis(places: Places) -> tuple[Side, Side]:
    return ours(places.sqlite(), "on Redis", **store("redis.RedisSessionStore", url=places.redis())), theirs()


def _in_memory(places: Places) -> tuple[Side, Side]:
    options = store("memory.InMemorySessionStore")
    return ours(places.sqlite(), "in memory", SESSION_ROWS=False, **options), theirs("json")


def _view(places: Places) -> tuple[Side, Side]:
    database = places.postgres()
    view = ours(database, "the view", POST_THROUGH_DJANGO=True)
    return view, ours(database, "a constant view", path="/constant")


def _sessions(places: Places) -> tuple[Side, Side]:
    return ours(places.filled(1_000_000), "a million sessions"), ours(places.filled(1_000), "1,000 sessions")


def _processes(places: Places) -> tuple[Side, Side]:
    database = places.postgres()
    return ours(database, "two processes", workers=2), ours(database, "one process")


ROWS: Final = (
    Row("echo", "tools/call", _default, loads.echo, goals=MANY),
    Row(
        "opening",
        "opening a session (initialize and initialized)",
        _default,
        loads.opening,
        goals={1: 0.9, 16: 2.5, 64: 2.5},
    ),
    Row(
        "progress",
        "100 progress events of a call, each durable",
        _default,
        loads.progress,
        (1, 16),
        goals={1: 1.5, 16: 2.0},
    ),
    Row(
        "notify",
        "a message to a GET stream, until it is there",
        _default,
        loads.notify,
        (1, 16),
        goals={1: 0.6, 16: 1.5},
    ),
    Row("modern", "tools/call of 2026-07-28", _default, loads.modern, goals=dict.fromkeys(CONNECTIONS, 0.9)),
    Row(
        "streams",
        "opening GET streams",
        _default,
        loads.streams,
        (1000, 3000),
        "streams",
        goals={1000: 0.8, 3000: 0.8},
        is_apart=True,
    ),
    Row(
        "broadcast",
        "one message to every open stream",
        _default,
        loads.broadcast,
        (5000,),
        "streams",
        goals={5000: 2.0},
        rounds=1,
        is_apart=True,
    ),
    Row("sqlite", "tools/call, on SQLite", _on_sqlite, loads.echo, goals=MANY),
    Row("redis", "tools/call, with the Redis store", _on_redis, loads.echo, goals=MANY),
    Row(
        "memory",
        "tools/call in memory, against the SDK's JSON mode",
        _in_memory,
        loads.echo,
        goals=dict.fromkeys(CONNECTIONS, 1.0),
    ),
    Row(
        "view",
        "tools/call through Django's middleware, against a constant page behind it",
        _view,
        loads.echo,
        against=loads.constant,
        goals=dict.fromkeys(CONNECTIONS, 0.5),
    ),
    Row(
        "processes",
        "tools/call by two processes, against one",
        _processes,
        loads.echo,
        (16,),
        goals={16: 1.1},
        by_cost=True,
    ),
    Row(
        "sessions",
        "tools/call with a million sessions, against 1,000",
        _sessions,
        loads.echo,
        (16,),
        goals={16: 1.2},
        by_cost=True,
    ),
)
