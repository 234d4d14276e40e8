"""Draws a schedule from the seed alone.

Each client and the troubles have a random stream of their own, so that nothing depends on which of
them is quicker.
"""

from __future__ import annotations

from random import Random
from typing import Final

from tests.soak.options import PAUSE_SECONDS, WORKER_TIMEOUT, Options
from tests.soak.schedule import (
    Batch,
    Call,
    Cut,
    Dialect,
    Ending,
    Life,
    Message,
    Route,
    Schedule,
    Step,
    Stream,
    Tool,
    Trouble,
    What,
)

RESUMABLE: Final = "2025-11-25"
"""The revision whose streams begin with an event id, so that a client can always come back."""
EARLIER: Final = "2025-06-18"
BATCHING: Final = "2025-03-26"
SSE: Final = "2024-11-05"
TURNS: Final = 12
"""Workers drawn for one thing; after the last the first comes again."""
TROUBLE_PAUSE_SECONDS: Final = 2.0
LONGEST_SECONDS: Final[dict[What, float]] = {
    "kill": 3.0,
    "restart": 0.0,
    "pause": 10.0,
    "freeze": WORKER_TIMEOUT + 9.0,
    "outage": WORKER_TIMEOUT + 4.0,
}
LONG_REST_SECONDS: Final = WORKER_TIMEOUT + 4.0

TOOLS: Final[dict[Dialect, dict[Tool, int]]] = {
    "specification": {
        "quick": 4,
        "count": 6,
        "flood": 1,
        "quiet": 1,
        "ask": 3,
        "sample": 1,
        "forever": 2,
        "announce": 2,
    },
    "guide": {"quick": 4, "count": 4, "quiet": 1, "ask": 2, "forever": 1, "announce": 2, "tell": 2},
    "sse": {"quick": 3, "count": 4, "quiet": 1, "ask": 2},
}
BATCHED: Final[dict[Tool, int]] = {"quick": 2, "count": 3, "quiet": 1}


def draw(options: Options) -> Schedule:
    clients = tuple(
        _Drawing(Random(f"{options.seed}/client/{number}"), options).lives(options.steps)
        for number in range(options.clients)
    )
    seconds = 2 * options.steps * PAUSE_SECONDS if options.has_troubles else 0
    troubles = _Drawing(Random(f"{options.seed}/troubles"), options).troubles(seconds)
    return Schedule(clients, troubles)


class _Drawing:
    def __init__(self, random: Random, options: Options) -> None:
        self._random = random
        self._workers = options.workers
        self._services = options.services
        self._can_freeze = options.database != "sqlite"
        self._has_troubles = options.has_troubles

    def lives(self, steps: int) -> tuple[Life, ...]:
        found: list[Life] = []
        while steps > 0:
            found.append(self.life(min(steps, self._random.randint(6, 24))))
            steps -= len(found[-1].steps)
        return tuple(found)

    def life(self, steps: int) -> Life:
        dialects: tuple[Dialect, ...] = ("specification", "guide", "sse")
        (dialect,) = self._random.choices(dialects, (6, 3, 1))
        version = self.version(dialect)
        # The guide's named events go to every open stream, so only with one do they come once.
        several = self._random.choice((1, 2, 2)) if version == RESUMABLE else 0
        streams = several if dialect == "specification" else 1
        return Life(
            dialect=dialect,
            version=version,
            route=self.route(),
            streams=tuple(self.stream(dialect) for _ in range(streams)),
            steps=tuple((self.pause(), self.step(dialect, version, streams)) for _ in range(steps)),
            ending=self.ending(dialect),
            last=self.call_of("forever", dialect),
        )

    def version(self, dialect: Dialect) -> str:
        if dialect != "specification":
            return SSE if dialect == "sse" else RESUMABLE
        (version,) = self._random.choices((RESUMABLE, EARLIER, BATCHING), (16, 2, 2))
        return version

    def ending(self, dialect: Dialect) -> Ending:
        endings: tuple[Ending, ...] = ("leave", "expire", "delete", "delete while a call runs")
        # A client of 2024-11-05 ends its session by leaving.
        return "leave" if dialect == "sse" else self._random.choices(endings, (6, 1, 6, 6))[0]

    def stream(self, dialect: Dialect) -> Stream:
        # A session of the guide's begins with its stream.
        after = 0 if dialect == "guide" else self._random.choice((0, 0, 2))
        return Stream(after, self.route(), self.cuts(0.7, 6), self.rests())

    def step(self, dialect: Dialect, version: str, streams: int) -> Step:
        what = self._random.random()
        if dialect == "sse":
            return self.call(dialect, streams)
        if version == BATCHING and what < 0.4:
            return self.batch()
        if streams and what < 0.15:
            return Message(self._random.randint(1, 4))
        if streams and what < 0.25:
            both, one = tuple(range(streams)), (self._random.randrange(streams),)
            return Cut(self._random.choice((both, one)))
        return self.call(dialect, streams)

    def call(self, dialect: Dialect, streams: int) -> Call:
        tools = {t: w for t, w in TOOLS[dialect].items() if streams or t != "announce"}
        (tool,) = self._random.choices(list(tools), list(tools.values()))
        return self.call_of(tool, dialect)

    def batch(self) -> Batch:
        (*tools,) = self._random.choices(list(BATCHED), list(BATCHED.values()), k=self._random.randint(1, 4))
        return Batch(tuple(self.call_of(tool, "specification") for tool in tools))

    def call_of(self, tool: Tool, dialect: Dialect) -> Call:
        return Call(
            tool=tool,
            count=self.count(tool),
            delay=self.delay(tool),
            route=self.route(),
            replies=self.route(),
            cuts=self.cuts(0.5, 4),
            rests=self.rests(),
            stall=round(self._random.uniform(1, 8), 2) if tool == "flood" else 0,
            is_replayed=self._random.random() < 0.3,
            takes_json_only=dialect == "guide" and tool in {"quick", "quiet", "announce", "tell"},
        )

    def count(self, tool: Tool) -> int:
        if tool == "count":
            return self._random.choice((1, 3, 5, 8, 20))
        if tool == "flood":
            return self._random.choice((50, 200, 400))
        return {"quick": 0, "quiet": 0, "forever": 1}.get(tool, self._random.randint(1, 4))

    def delay(self, tool: Tool) -> float:
        if tool == "quiet":
            return round(self._random.uniform(0.3, 3), 2)
        if tool == "flood":
            return 0
        return self._random.choice((0, 0, 0.02, 0.1, 0.3))

    def route(self) -> Route:
        return tuple(self._random.randrange(self._workers) for _ in range(TURNS))

    def cuts(self, share: float, most: int) -> tuple[int, ...]:
        if self._random.random() > share:
            return ()
        return tuple(self._random.randint(1, most) for _ in range(self._random.randint(1, 4)))

    def rests(self) -> tuple[float, ...]:
        """Most come back at once; some only when a dead worker has been found out."""
        rests = (0.1, 0.5, 2.0, LONG_REST_SECONDS)
        weights = (20, 4, 2, 1) if self._has_troubles else (20, 4, 0, 0)
        return tuple(self._random.choices(rests, weights, k=TURNS))

    def pause(self) -> float:
        return round(self._random.expovariate(1 / PAUSE_SECONDS), 3)

    def troubles(self, seconds: float) -> tuple[Trouble, ...]:
        found: list[Trouble] = []
        while seconds > 0:
            found.append(self.trouble())
            seconds -= found[-1].after + found[-1].seconds
        return tuple(found)

    def trouble(self) -> Trouble:
        weights: dict[What, int] = {
            "kill": 5,
            "restart": 2,
            "pause": 2,
            # On SQLite a worker that is stopped in a transaction stops everybody.
            "freeze": 2 if self._can_freeze else 0,
            "outage": 1 if self._services else 0,
        }
        (what,) = self._random.choices(list(weights), list(weights.values()))
        return Trouble(
            after=round(self._random.uniform(0.2, 2) * TROUBLE_PAUSE_SECONDS, 3),
            what=what,
            victims=self.victims(self._services if what == "outage" else self._workers),
            seconds=round(self._random.uniform(0, LONGEST_SECONDS[what]), 3),
        )

    def victims(self, count: int) -> tuple[int, ...]:
        everybody, one = tuple(range(count)), (self._random.randrange(count),)
        return everybody if self._random.random() < 0.1 else one
