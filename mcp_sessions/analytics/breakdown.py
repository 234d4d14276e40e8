"""Counts of sessions by client, protocol version and dialect, and of ends by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mcp_sessions.analytics.aggregates import Breakdown
from mcp_sessions.analytics.dialects import fetch, said
from mcp_sessions.analytics.queries import OPENED_WITHIN, OVER_WITHIN, SessionQueries
from mcp_sessions.records import EndReason

REASON: Final = (
    "CASE WHEN ended_at IS NOT NULL THEN end_reason"
    f" WHEN expires_at < timeout_at THEN '{EndReason.IDLE}' ELSE '{EndReason.EXPIRED}' END"
)

MAX_COMBINATIONS: Final = 1000
"""Combinations of clients' values that are counted. The rest is OTHER: clients may send anything."""
OTHER: Final = "other"
UNKNOWN: Final = "unknown"

DIMENSIONS: Final = ("client", "version", "revision", "dialect", "reason")


@dataclass(frozen=True, slots=True)
class BreakdownQueries(SessionQueries):
    def kinds(self, since: datetime, until: datetime) -> Breakdown:
        """Opened sessions by client, and ended sessions by reason: two queries."""
        kinds: dict[str, Counter[str]] = {name: Counter() for name in DIMENSIONS}
        paths = [("client", "name"), ("client", "version"), ("protocol_version",), ("dialect",)]
        what = [said(self.connection, *path) for path in paths]
        for names, count in self._most(what, OPENED_WITHIN, [since, until]):
            for kind, name in _named(*names).items():
                kinds[kind][name] += count
        for (reason,), count in self._most([REASON], OVER_WITHIN, [since, until] * 2):
            kinds["reason"][reason.strip() or UNKNOWN] += count
        return kinds

    def _most(
        self, what: Sequence[str], where: str, params: Sequence[Any]
    ) -> Iterator[tuple[tuple[str, ...], int]]:
        """The most frequent combinations, each with its count, and OTHER for all the rest."""
        names = [f"name_{number}" for number, _ in enumerate(what)]
        columns = ", ".join(f"{each} AS {name}" for each, name in zip(what, names, strict=True))
        query, values = self.query(f"{columns}, COUNT(*) AS many", where, params)
        by = ", ".join(names)
        statement = (
            f"SELECT {by}, many, SUM(many) OVER () FROM ({query} GROUP BY {by}) found"
            f" ORDER BY many DESC, {by} LIMIT {MAX_COMBINATIONS}"
        )
        rest = None
        for *found, count, total in fetch(self.connection, statement, values):
            rest = int(total if rest is None else rest) - int(count)
            yield tuple(map(str, found)), int(count)
        if rest:
            yield (OTHER,) * len(what), rest


def _named(client: str, version: str, revision: str, dialect: str) -> dict[str, str]:
    if (client, version, revision, dialect) == (OTHER,) * 4:
        return dict.fromkeys(("client", "version", "revision", "dialect"), OTHER)
    # Databases differ in whether spaces at the end count.
    return {
        "client": client.strip() or UNKNOWN,
        "version": f"{client.strip()} {version.strip()}".strip() or UNKNOWN,
        "revision": revision.strip() or UNKNOWN,
        "dialect": "guide" if dialect == "guide" else "specification",
    }
