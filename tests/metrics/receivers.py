"""Receivers of metrics as a project may write them, by their dotted paths."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import connection

from mcp_sessions.metrics import SessionMetrics
from mcp_sessions.records import SessionRecord

Call = tuple[str, tuple[Any, ...]]


class Noting(SessionMetrics):
    """Notes every call but those about the count."""

    calls: ClassVar[list[Call]] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("record_"):
            return super().__getattribute__(name)
        return lambda *told: self.calls.append((name, told))


class CountNoting(SessionMetrics):
    counts: ClassVar[list[int]] = []

    def record_active_count(self, count: int) -> None:
        self.counts.append(count)


class Failing(SessionMetrics):
    def record_session_created(self, session: SessionRecord) -> None:
        raise RuntimeError("no room")

    def record_active_count(self, count: int) -> None:
        raise RuntimeError("cannot count")


class Refusing(SessionMetrics):
    def __init__(self) -> None:
        raise RuntimeError("no metrics today")


class Exposing(SessionMetrics):
    """Is asked by the view, like Prometheus's."""

    def exposition(self, accept: str) -> tuple[bytes, str]:
        return f"in a transaction: {connection.in_atomic_block}".encode(), "text/plain"


class NoMetrics:
    """Has nothing of it."""
