"""What the rows of sessions say about a span of time: everything is added up by the database."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mcp_sessions.analytics.aggregates import MIN_MICROSECONDS, RATIO, Aggregates
from mcp_sessions.analytics.breakdown import BreakdownQueries
from mcp_sessions.analytics.dialects import fetch
from mcp_sessions.analytics.queries import MICROSECOND, OPENED_WITHIN, OVER_AT, OVER_SINCE, OVER_WITHIN

PERCENTS: Final = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Step:
    """What was opened and ended from `at` on, until the next step."""

    at: datetime
    opened: int = 0
    ended: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """Sums over the sessions that ended in a step."""

    count: int
    duration: int
    requests: int
    connections: int


@dataclass(frozen=True, slots=True)
class Rows(BreakdownQueries):
    """What can be asked of them."""

    def opened(self, since: datetime, until: datetime, step: timedelta) -> dict[datetime, int]:
        """How many were opened, by steps."""
        what = f"{self.step_of('created_at', step)}, COUNT(*)"
        found = self.select(what, OPENED_WITHIN, [since, until], "GROUP BY 1")
        return {self.instant(number): int(count) for number, count in found}

    def ended(self, since: datetime, until: datetime, step: timedelta) -> dict[datetime, Ended]:
        """Those that ended, by steps."""
        sums = f"COUNT(*), SUM({self.duration}), SUM(requests), SUM(connections)"
        what = f"{self.step_of(OVER_AT, step)}, {sums}"
        found = self.select(what, OVER_WITHIN, [since, until] * 2, "GROUP BY 1")
        return {self.instant(row[0]): Ended(*map(int, row[1:])) for row in found}

    def live_at(self, at: datetime) -> tuple[int, int]:
        """How many lived just before the instant, and how many at it."""
        before = "SUM(CASE WHEN created_at < %s THEN 1 ELSE 0 END)"
        then = f"SUM(CASE WHEN {OVER_AT} > %s THEN 1 ELSE 0 END)"
        where = f"created_at <= %s AND {OVER_SINCE}"
        ((count, count_then),) = self.select(f"{before}, {then}", where, [at] * 5)
        return int(count or 0), int(count_then or 0)

    def alive(self, now: datetime, seen_since: datetime) -> tuple[int, int]:
        """How many live, and how many of them were used after this."""
        what = "COUNT(*), SUM(CASE WHEN last_accessed_at > %s THEN 1 ELSE 0 END)"
        ((live, seen),) = self.select(what, "ended_at IS NULL AND expires_at > %s", [seen_since, now])
        return int(live), int(seen or 0)

    def rise(self, since: datetime, until: datetime) -> int:
        """How many more than when it began lived at most at one instant of the span.

        Beginnings and ends in order: each adds or takes one, and at one instant the ends are first.
        """
        # Who ended when the span began is no more, and who was opened then is counted already.
        after, lived = since + MICROSECOND, f"{OVER_AT} > created_at"
        begun, begun_params = self.query(
            "created_at AS moment, 1 AS delta", f"{OPENED_WITHIN} AND {lived}", [after, until]
        )
        over, over_params = self.query(
            f"{OVER_AT} AS moment, -1 AS delta", f"{OVER_WITHIN} AND {lived}", [after, until] * 2
        )
        running = "SUM(delta) OVER (ORDER BY moment, delta ROWS UNBOUNDED PRECEDING) AS running"
        changes = f"{begun} UNION ALL {over}"
        statement = f"SELECT MAX(running) FROM (SELECT {running} FROM ({changes}) changes) sums"
        ((most,),) = fetch(self.connection, statement, [*begun_params, *over_params])
        return max(int(most or 0), 0)

    def percentiles(self, since: datetime, until: datetime) -> dict[int, float]:
        """Of the durations, in microseconds, between the two nearest (as PostgreSQL's percentile_cont)."""
        ranked = (
            f"{self.duration} AS duration, ROW_NUMBER() OVER (ORDER BY {self.duration}) - 1 AS place,"
            " COUNT(*) OVER () - 1 AS last"
        )
        query, params = self.query(ranked, OVER_WITHIN, [since, until] * 2)
        near = " OR ".join(
            f"(100 * place > {percent} * last - 100 AND 100 * place <= {percent} * last + 100)"
            for percent in PERCENTS
        )
        statement = f"SELECT place, duration, last FROM ({query}) ranked WHERE {near}"
        found = fetch(self.connection, statement, params)
        if not found:
            return {}
        durations = {int(place): int(duration) for place, duration, _ in found}
        return {percent: _between(durations, percent, int(found[0][2])) for percent in PERCENTS}

    def durations(self, since: datetime, until: datetime) -> dict[int, int]:
        """How many durations are in each class."""
        number = f"FLOOR((LN({self.duration}) - {math.log(MIN_MICROSECONDS)!r}) / {math.log(RATIO)!r}) + 1"
        what = f"CASE WHEN {self.duration} < {MIN_MICROSECONDS} THEN 0 ELSE {number} END, COUNT(*)"
        found = self.select(what, OVER_WITHIN, [since, until] * 2, "GROUP BY 1")
        return {int(each): int(count) for each, count in found}

    def servers(self, since: datetime, until: datetime) -> list[str]:
        """The endpoints that had sessions meanwhile."""
        where = f"created_at < %s AND {OVER_SINCE}"
        return [row[0] for row in self.select("DISTINCT server", where, [until, since, since])]

    def measured(self, since: datetime, until: datetime, step: timedelta) -> tuple[Aggregates, list[Step]]:
        """The figures of a span, but for the classes of durations, and its steps where something happened."""
        opened, ended = self.opened(since, until, step), self.ended(since, until, step)
        live, live_then = self.live_at(since)
        figures = Aggregates(
            opened=sum(opened.values()),
            ended=sum(each.count for each in ended.values()),
            live=live,
            peak=live_then + self.rise(since, until),
            duration=sum(each.duration for each in ended.values()),
            requests=sum(each.requests for each in ended.values()),
            connections=sum(each.connections for each in ended.values()),
            kinds=self.kinds(since, until),
        )
        return figures, [
            Step(at, opened.get(at, 0), ended[at].count if at in ended else 0)
            for at in sorted(opened.keys() | ended.keys())
        ]


def _between(durations: dict[int, int], percent: int, last: int) -> float:
    below, hundredths = divmod(percent * last, 100)
    low = durations[below]
    return low + (durations.get(below + 1, low) - low) * hundredths / 100
