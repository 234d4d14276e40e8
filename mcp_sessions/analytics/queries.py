"""Queries on the rows of sessions, and conditions on their times.

A session is over at its `ended_at`; or at its `expires_at`, once that has passed, whether or not
anybody has ended it yet. So an aggregate does not depend on when the last purge was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.analytics.dialects import fetch, microseconds, seconds
from mcp_sessions.models import Session

OPENED_WITHIN: Final = "created_at >= %s AND created_at < %s"
OVER_AT: Final = "COALESCE(ended_at, expires_at)"
# In this form the index on (ended_at, expires_at) is used.
OVER_WITHIN: Final = (
    "((ended_at >= %s AND ended_at < %s) OR (ended_at IS NULL AND expires_at >= %s AND expires_at < %s))"
)
OVER_SINCE: Final = "(ended_at >= %s OR (ended_at IS NULL AND expires_at >= %s))"

MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class SessionQueries:
    """The rows in this database of the sessions of one endpoint, or of all ("")."""

    alias: str
    server: str = ""

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.alias]

    def select(self, what: str, where: str, params: Sequence[Any], rest: str = "") -> list[tuple[Any, ...]]:
        query, values = self.query(what, where, params)
        return fetch(self.connection, f"{query} {rest}", values)

    def query(self, what: str, where: str, params: Sequence[Any]) -> tuple[str, list[Any]]:
        adapt = self.connection.ops.adapt_datetimefield_value
        values = [adapt(each) if isinstance(each, datetime) else each for each in params]
        if self.server:
            where, values = f"{where} AND server = %s", [*values, self.server]
        return f"SELECT {what} FROM {Session._meta.db_table} WHERE {where}", values

    @property
    def duration(self) -> str:
        """Microseconds; clocks of two workers may have it end before it began."""
        length = microseconds(self.connection, "created_at", OVER_AT)
        return f"(CASE WHEN {OVER_AT} > created_at THEN {length} ELSE 0 END)"

    def step_of(self, at: str, step: timedelta) -> str:
        """When the step began in which this is, in seconds."""
        number = seconds(self.connection, at)
        return f"{number} - {number} %% {int(step.total_seconds())}"

    def instant(self, number: int) -> datetime:
        """What `seconds` made a number of."""
        is_absolute = self.connection.features.supports_timezones
        zone = UTC if is_absolute else self.connection.timezone or UTC
        return (datetime(1970, 1, 1, tzinfo=zone) + timedelta(seconds=int(number))).astimezone(UTC)
