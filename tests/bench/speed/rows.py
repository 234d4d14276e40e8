"""The rows of the table: what is measured, against whom, and what it must reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.bench.speed import loads
from tests.bench.speed.loads import WARM_SECONDS, Load
from tests.bench.speed.places import Places
from tests.bench.speed.sides import Server, Side, ours, store, theirs

Run = Callable[[Server, int, float], Awaitable[Load]]
CONNECTIONS: Final = (1, 16, 64)
START_SECONDS: Final = 5.0
EVENTS_OF_OTHERS: Final = 1_000_000
GROWTH: Final = (4_000, 16_000, 64_000, 256_000, 1_000_000)
MANY: Final = {1: 1.2, 16: 2.5, 64: 2.5}


Sides = tuple[Side] | tuple[Side, Side]


@dataclass(frozen=True)
class Row:
    """`sides` are the app's and the other's. `run` loads the app; `against` the other, if it differs.

    `goals` are the least ratios of the rates, by the number of connections or streams. With `by_cost` they
    are the largest ratios of the CPU seconds: of sides that have not as many cores, or are to be equal.
    """

    name: str
    title: str
    sides: Callable[[Places], Sides]
    run: Run
    numbers: Sequence[int] = CONNECTIONS
    of: str = "connections"
    against: Run | None = None
    goals: Mapping[int, float] = field(default_factory=dict)
    by_cost: bool = False
    max_share: float | None = None
    """Of a core that the app may take. Such a row has no other side."""
    setup_seconds: float = 0.5
    """What a load takes on an idle machine, besides the time in which it is measured."""
    rounds: int | None = None
    """If it is not to be repeated as often as the others."""
    is_apart: bool = False
    """Whether it is measured on servers that have done nothing else: what they hold is looked at."""

    def bound(self, rounds: int, seconds: float) -> float:
        """Seconds that the row takes on an idle machine, with the start of its servers."""
        loads = len(self.numbers) * (self.rounds or rounds) * (1 if self.max_share else 2)
        return START_SECONDS + loads * (WARM_SECONDS + seconds + self.setup_seconds)


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


def _alone(places: Places) -> tuple[Side]:
    return (ours(places.postgres()),)


def _sessions(places: Places) -> tuple[Side, Side]:
    return ours(places.filled(1_000), "more sessions"), ours(places.filled(1_000), "1,000 sessions")


def _events(places: Places) -> tuple[Side, Side]:
    many = places.filled(EVENTS_OF_OTHERS // 10, EVENTS_OF_OTHERS)
    return ours(many, "a million events of others"), ours(places.postgres(), "none")


def _on_daphne(places: Places) -> tuple[Side, Side]:
    return ours(places.postgres(), "under Daphne", server="daphne"), theirs()


def _on_gunicorn(places: Places) -> tuple[Side, Side]:
    return ours(places.postgres(), "under gunicorn", server="gunicorn"), theirs()


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
        setup_seconds=5.0,
        is_apart=True,
    ),
    Row(
        "idle",
        "idle streams for a minute, with their keep-alives",
        _alone,
        loads.idle,
        (10_000,),
        "streams",
        max_share=0.02,
        setup_seconds=100.0,
        rounds=1,
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
        setup_seconds=22.0,
        rounds=1,
        is_apart=True,
    ),
    Row("sqlite", "tools/call, on SQLite", _on_sqlite, loads.echo, goals=MANY, rounds=2),
    Row("redis", "tools/call, with the Redis store", _on_redis, loads.echo, goals=MANY, rounds=2),
    Row(
        "memory",
        "tools/call in memory, against the SDK's JSON mode",
        _in_memory,
        loads.echo,
        goals=dict.fromkeys(CONNECTIONS, 1.0),
        rounds=2,
    ),
    Row(
        "view",
        "tools/call through Django's middleware, against a constant page behind it",
        _view,
        loads.echo,
        against=loads.constant,
        goals=dict.fromkeys(CONNECTIONS, 0.5),
        rounds=2,
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
        "tools/call with so many sessions, against 1,000",
        _sessions,
        loads.grown,
        GROWTH,
        "sessions",
        against=loads.before_growth,
        goals=dict.fromkeys(GROWTH, 1.2),
        by_cost=True,
        rounds=2,
        setup_seconds=4.0,
    ),
    Row(
        "append",
        "100 durable events of a call, beside a million events of others, against none",
        _events,
        loads.progress,
        (16,),
        goals={16: 1.2},
        by_cost=True,
    ),
    Row(
        "replay",
        "100 events replayed, beside a million events of others, against none",
        _events,
        loads.replay,
        (16,),
        goals={16: 1.2},
        by_cost=True,
        setup_seconds=3.0,
    ),
    Row("daphne", "tools/call under Daphne, against the SDK under uvicorn", _on_daphne, loads.echo, rounds=1),
    Row(
        "gunicorn",
        "tools/call under gunicorn, against the SDK under uvicorn",
        _on_gunicorn,
        loads.echo,
        rounds=1,
    ),
)
