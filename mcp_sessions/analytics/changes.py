"""Recent changes of sessions, for feeds. They are read from the rows, so all processes' changes are found.

Openings are followed by primary key. Keys are given out in order, but can become visible out of order.
Ends have no number: each look reads those of the last seconds, and remembers which it has returned. A
session whose time has run out has ended at that instant, whether or not a purge has ended it yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, Literal

from django.db.models import Max, Min, QuerySet

from mcp_sessions.delivery.watermark import Watermark
from mcp_sessions.lifetimes import expiry_reason
from mcp_sessions.models import Session

OVERLAP: Final = timedelta(seconds=10)
"""Ends become visible at most so late, and clocks of workers differ by at most so much."""
MAX_CHANGES: Final = 50
"""Openings, and ends, that one look reads: a feed shows the newest."""

_COLUMNS: Final = (
    *("pk", "key", "server", "metadata", "created_at"),
    *("ended_at", "end_reason", "expires_at", "timeout_at"),
)


@dataclass(frozen=True, slots=True)
class SessionChange:
    """A session was opened, or has ended."""

    kind: Literal["opened", "ended"]
    at: datetime
    pk: int
    key: str
    server: str
    client: str
    """Its name and version, as it says; or its user agent."""
    address: str
    reason: str = ""
    """Why it ended."""


class SessionChanges:
    """Every opening and end once, from some seconds ago on. Each look blocks, and is three queries.

    `rows_know_ends` is whether a row whose time ran out is a session that is over: rows that stand
    beside another store do not know when theirs was used last.
    """

    def __init__(self, alias: str, now: datetime, rows_know_ends: bool = True) -> None:
        self._alias = alias
        self._rows_know_ends = rows_know_ends
        self._opened = Watermark(_last_number(alias, now - OVERLAP))
        self._ended: dict[str, datetime] = {}

    def take(self, now: datetime, seconds: float) -> list[SessionChange]:
        """What is new, in the order in which it happened; `seconds` is the same now of a steady clock."""
        # Read everything before marking anything as returned: if the database fails, nothing is lost.
        opened = {row.pk: row for row in _newest(self._rows.filter(pk__gt=self._opened.low), "pk")}
        ends = list(_ends(self._alias, now, self._rows_know_ends, now - OVERLAP))
        new = [opened[pk] for pk in self._opened.take(sorted(opened), seconds)]
        return sorted([*map(_opening, new), *self._new_ends(ends, now)], key=attrgetter("at"))

    @property
    def _rows(self) -> QuerySet[Session]:
        return Session.objects.using(self._alias)

    def _new_ends(self, ends: Iterable[SessionChange], now: datetime) -> list[SessionChange]:
        # Longer than they are looked for: a clock may be set back.
        self._ended = {key: at for key, at in self._ended.items() if at > now - 2 * OVERLAP}
        new = [each for each in ends if each.key not in self._ended]
        self._ended.update({each.key: each.at for each in new})
        return new


def recent(alias: str, now: datetime, rows_know_ends: bool = True) -> list[SessionChange]:
    """The newest openings and ends, the newest first."""
    openings = map(_opening, _newest(Session.objects.using(alias), "created_at"))
    ends = _ends(alias, now, rows_know_ends)
    return sorted([*openings, *ends], key=attrgetter("at"), reverse=True)[:MAX_CHANGES]


def _last_number(alias: str, since: datetime) -> int:
    """The number before those of sessions that were opened since then."""
    rows = Session.objects.using(alias)
    # In this order: one that is opened in between has a greater number than the last, or is the first.
    last: int = rows.aggregate(last=Max("pk"))["last"] or 0
    first: int | None = rows.filter(created_at__gte=since).aggregate(first=Min("pk"))["first"]
    return last if first is None else first - 1


def _ends(
    alias: str, now: datetime, rows_know_ends: bool, since: datetime | None = None
) -> Iterable[SessionChange]:
    # One query for each of the two ranges of the index on (ended_at, expires_at).
    rows = Session.objects.using(alias)
    ended = rows.exclude(ended_at=None) if since is None else rows.filter(ended_at__gt=since)
    yield from map(_end, _newest(ended, "ended_at"))
    if rows_know_ends:
        ran_out = rows.expired(now) if since is None else rows.expired(now).filter(expires_at__gt=since)
        yield from map(_end, _newest(ran_out, "expires_at"))


def _newest(rows: QuerySet[Session], by: str) -> QuerySet[Session]:
    return rows.only(*_COLUMNS).order_by(f"-{by}")[:MAX_CHANGES]


def _opening(row: Session) -> SessionChange:
    return SessionChange("opened", row.created_at, row.pk, row.key, row.server, *_said(row.metadata))


def _end(row: Session) -> SessionChange:
    reason = row.end_reason if row.ended_at else expiry_reason(row.expires_at, row.timeout_at)
    at = row.ended_at or row.expires_at
    return SessionChange("ended", at, row.pk, row.key, row.server, *_said(row.metadata), reason)


def _said(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """(client, address)."""
    client = metadata.get("client") or {}
    name = " ".join(str(client[part]) for part in ("name", "version") if client.get(part))
    return name or str(metadata.get("user_agent") or ""), str(metadata.get("address") or "")
