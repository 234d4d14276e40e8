"""Draws a schedule from the seed alone.

Each client and the troubles have a random stream of their own, so that nothing depends on which of
them is quicker.
"""

from __future__ import annotations

from random import Random
from typing import Final

from tests.soak.options import PAUSE_SECONDS, WORKER_TIMEOUT, Options
from tests.soak.schedule import (
    Call,
    Cut,
    Dialect,
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
TURNS: Final = 12
"""Workers drawn for one thing; after the last the first comes again."""
TROUBLE_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 10.0
LONG_REST_SECONDS: Final = WORKER_TIMEOUT + 4.0

TOOLS: Final[dict[Dialect, dict[Tool, int]]] = {
    "specification": {
        "quick": 4,
        "count": 6,
        "quiet": 1,
        "ask": 3,
        "sample": 1,
        "forever": 2,
        "announce": 2,
    },
    "guide": {"quick": 4, "count": 4, "quiet": 1, "ask": 2, "forever": 1, "announce": 2, "tell": 2},
}


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
        self._has_troubles = options.has_troubles

    def lives(self, steps: int) -> tuple[Life, ...]:
        found: list[Life] = []
        while steps > 0:
            found.append(self.life(min(steps, self._random.randint(6, 24))))
            steps -= len(found[-1].steps)
        return tuple(found)

    def life(self, steps: int) -> Life:
        dialect: Dialect = "guide" if self._random.random() < 0.3 else "specification"
        is_earlier = dialect == "specification" and self._random.random() < 0.15
        # The guide's named events go to every open stream, so only with one do they come once.
        streams = 1 if dialect == "guide" else 0 if is_earlier else self._random.choice((1, 2, 2))
        return Life(
            dialect=dialect,
            version=EARLIER if is_earlier else RESUMABLE,
            route=self.route(),
            streams=tuple(self.stream(dialect) for _ in range(streams)),
            steps=tuple((self.pause(), self.step(dialect, streams)) for _ in range(steps)),
            ending=self._random.choice(("leave", "delete", "delete while a call runs")),
            last=self.call_of("forever", dialect),
        )

    def stream(self, dialect: Dialect) -> Stream:
        # A session of the guide's begins with its stream.
        after = 0 if dialect == "guide" else self._random.choice((0, 0, 2))
        return Stream(after, self.route(), self.cuts(0.7, 6), self.rests())

    def step(self, dialect: Dialect, streams: int) -> Step:
        what = self._random.random()
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

    def call_of(self, tool: Tool, dialect: Dialect) -> Call:
        return Call(
            tool=tool,
            count=self.count(tool),
            delay=self.delay(tool),
            route=self.route(),
            replies=self.route(),
            cuts=self.cuts(0.5, 4),
            rests=self.rests(),
            is_replayed=self._random.random() < 0.3,
            takes_json_only=dialect == "guide" and tool in {"quick", "quiet", "announce", "tell"},
        )

    def count(self, tool: Tool) -> int:
        if tool == "count":
            return self._random.choice((1, 3, 5, 8, 20))
        return {"quick": 0, "quiet": 0, "forever": 1}.get(tool, self._random.randint(1, 4))

    def delay(self, tool: Tool) -> float:
        if tool == "quiet":
            return round(self._random.uniform(0.3, 3), 2)
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
        kinds: tuple[What, ...] = ("kill", "restart", "pause")
        (what,) = self._random.choices(kinds, (5, 2, 2))
        longest = LONGEST_PAUSE_SECONDS if what == "pause" else 3.0
        everybody = tuple(range(self._workers))
        one = (self._random.randrange(self._workers),)
        return Trouble(
            after=round(self._random.uniform(0.2, 2) * TROUBLE_PAUSE_SECONDS, 3),
            what=what,
            victims=everybody if self._random.random() < 0.1 else one,
            seconds=round(self._random.uniform(0, longest), 3) if what != "restart" else 0,
        )
